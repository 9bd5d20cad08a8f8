"""Dead letters as JSON for programs: `--json` and `export`."""

import base64
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_version import LetterVersion
from worker.domain.letter_view import LetterView
from worker.domain.replay_report import ReplayOutcome, ReplayPlan, ReplayReport, ReplayResult
from worker.domain.shipment import Shipment

_NOT_SHOWN = ("body", "filed", "revision")


def letter_document(letter: DeadLetterRecord) -> dict[str, Any]:
    """Return a dead letter without its body."""
    return {item.name: getattr(letter, item.name) for item in fields(letter) if item.name not in _NOT_SHOWN}


def whole_document(letter: DeadLetterRecord) -> dict[str, Any]:
    """Return a dead letter with its body: `body_base64` byte for byte, `body_text` where it is UTF-8."""
    try:
        text: str | None = letter.body.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    return {
        **letter_document(letter),
        "body_base64": base64.b64encode(letter.body).decode("ascii"),
        "body_text": text,
    }


def shipment_document(shipment: Shipment | None) -> dict[str, Any] | None:
    """Return a shipment, None when there is none."""
    if shipment is None:
        return None
    return {
        "id": shipment.id,
        "status": shipment.status,
        "retry_count": shipment.retry_count,
        "last_error": shipment.last_error,
        "history": shipment.history,
    }


def view_document(view: LetterView) -> dict[str, Any]:
    """Return everything about one dead letter."""
    return {
        **whole_document(view.letter),
        "shipment": shipment_document(view.shipment),
        "replays": view.replays,
        "versions": [_version_document(version) for version in view.versions],
        "timeline": view.timeline,
    }


def _version_document(version: LetterVersion) -> dict[str, Any]:
    names = ("number", "size", "at", "by", "why", "replay_id")
    return {name: getattr(version, name) for name in names}


def plan_document(plan: ReplayPlan) -> dict[str, Any]:
    """Return a dry run."""
    return {
        "dry_run": True,
        "would_replay": len(plan.ids),
        "by_reason": plan.by_reason,
        "groups": plan.groups,
        "left_alone": plan.left_alone,
        "not_matching": plan.not_matching,
        "ids": plan.ids,
    }


def report_document(
    plan: ReplayPlan, report: ReplayReport, outcomes: Mapping[str, ReplayOutcome] | None
) -> dict[str, Any]:
    """Return what a replay did; with `outcomes` where they were waited for."""
    letters = [
        {
            "id": letter.letter_id,
            "result": letter.result,
            "replay_id": letter.replay_id,
            "why": letter.why,
            **({"outcome": outcomes.get(letter.letter_id)} if outcomes is not None else {}),
        }
        for letter in report.letters
    ]
    came_to = list(outcomes.values()) if outcomes is not None else []
    return {
        "dry_run": False,
        **{result.value: report.count(result) for result in ReplayResult},
        "not_tried": report.not_tried,
        "stopped": report.stopped,
        "left_alone": plan.left_alone,
        "not_matching": plan.not_matching,
        **({outcome.value: came_to.count(outcome) for outcome in ReplayOutcome} if outcomes is not None else {}),
        "letters": letters,
    }
