"""A discard or restore as JSON for programs."""

from typing import Any

from worker.domain.triage import TriagePlan, TriageReport

DONE = {"discard": "Discarded", "restore": "Restored"}
"""What was done, in a word, by action."""


def plan_document(plan: TriagePlan, *, dry_run: bool) -> dict[str, Any]:
    """Return what would be moved."""
    return {
        "action": plan.action,
        "dry_run": dry_run,
        "matched": plan.count,
        "ids": [*plan.ids, *plan.overdue],
        "overdue": plan.overdue,
        "left_alone": plan.left_alone,
        "not_matching": plan.not_matching,
    }


def report_document(plan: TriagePlan, report: TriageReport) -> dict[str, Any]:
    """Return what was moved."""
    moved = {DONE[plan.action].lower(): report.moved, "given_up": report.given_up, "changed": report.changed}
    return {**moved, "expires_at": report.expires_at}
