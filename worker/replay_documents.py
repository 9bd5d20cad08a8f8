"""Replay jobs as JSON for programs."""

from collections.abc import Sequence
from typing import Any

from worker.domain.replay_job import ItemState, ReplayItem, ReplayOptions
from worker.domain.replay_jobs import ReplayProgress
from worker.domain.replay_plan import ReplayPlan


def plan_document(plan: ReplayPlan, options: ReplayOptions) -> dict[str, Any]:
    """Return a dry run."""
    return {
        "dry_run": True,
        "would_replay": plan.total,
        "by_reason": plan.by_reason,
        "groups": plan.groups,
        "left_alone": plan.left_alone,
        "not_matching": plan.not_matching,
        "hopeless": plan.hopeless,
        "options": options,
    }


def progress_document(progress: ReplayProgress, letters: Sequence[ReplayItem] | None = None) -> dict[str, Any]:
    """Return a job and how far it is; `letters`: those to be listed with it."""
    job, tally = progress.job, progress.tally
    document: dict[str, Any] = {
        "id": job.id,
        "state": job.state,
        "because": job.because,
        "waits_for": job.note,
        "by": job.by,
        "why": job.why,
        "selection": job.selection,
        "options": job.options,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "runner": job.runner,
        "total": job.total,
        **{state.value: tally.of(state) for state in ItemState},
        "on_its_way": tally.on_its_way,
        "overdue": tally.overdue,
        "rate": round(progress.rate, 2),
        "all_sent_at": progress.all_sent_at,
        "arrived_since": progress.arrived,
    }
    if letters is not None:
        document["letters"] = [
            {"id": item.letter_id, "state": item.state, "why": item.why, "sent_at": item.sent_at} for item in letters
        ]
    return document
