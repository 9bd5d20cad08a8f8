"""Dead letters as JSON for programs: `--json` and `export`."""

import base64
from dataclasses import fields
from typing import Any

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_version import LetterVersion
from worker.domain.letter_view import LetterView
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
        "revision": view.letter.revision,
        "shipment": shipment_document(view.shipment),
        "replays": view.replays,
        "versions": [_version_document(version) for version in view.versions],
        "timeline": view.timeline,
    }


def _version_document(version: LetterVersion) -> dict[str, Any]:
    names = ("number", "size", "at", "by", "why", "replay_id")
    return {name: getattr(version, name) for name in names}
