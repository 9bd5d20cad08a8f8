"""From a dead letter to its document and back."""

from typing import Any

from bson import Binary

from infra.mongodb.documents import (
    event_document,
    event_from,
    letter_event_document,
    letter_event_from,
    original_value,
    safe_value,
)
from infra.mongodb.store import Document
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.selection import DeadLetterState


def letter_document(letter: DeadLetterRecord) -> Document:
    return {
        "state": str(letter.state),
        "state_changed_at": letter.dead_lettered_at,
        "reason": str(letter.reason),
        "order_id": letter.order_id,
        "trace_id": letter.trace_id,
        "body": Binary(letter.body),
        "headers": safe_value(letter.headers),
        "error_type": letter.error_type,
        "error_message": letter.error_message,
        "error_chain": list(letter.error_chain),
        "attempts": [event_document(attempt) for attempt in letter.attempts],
        "fingerprint": letter.fingerprint,
        "origin_exchange": letter.origin_exchange,
        "origin_routing_key": letter.origin_routing_key,
        "first_failed_at": letter.first_failed_at,
        "dead_lettered_at": letter.dead_lettered_at,
        "replay_count": letter.replay_count,
        "replay_id": letter.replay_id,
        "job_id": letter.job_id,
        "kind": str(letter.kind),
        "version": letter.version,
        "published_at": letter.published_at,
        "expires_at": letter.expires_at,
        "filed": list(letter.filed),
        "history": [letter_event_document(event) for event in letter.history],
    }


def letter_from(document: Document) -> DeadLetterRecord:
    plain: dict[str, Any] = {name: document[name] for name in DeadLetterRecord.__dataclass_fields__ if name in document}
    return DeadLetterRecord(
        **{
            **plain,
            "id": document["_id"],
            "state": DeadLetterState(document["state"]),
            "kind": LetterKind(document.get("kind", LetterKind.ORDER)),
            "body": bytes(document.get("body", b"")),
            "headers": original_value(document["headers"]),
            "error_chain": tuple(document.get("error_chain", ())),
            "attempts": tuple(event_from(attempt) for attempt in document.get("attempts", ())),
            "filed": tuple(document.get("filed", ())),
            "history": tuple(letter_event_from(event) for event in document.get("history", ())),
        }
    )
