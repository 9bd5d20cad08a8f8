"""One body that a dead letter has or had: number 0 as the message arrived, one more with each edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.domain.dead_letter import DeadLetterRecord


@dataclass(frozen=True, slots=True)
class LetterVersion:
    """A body, the headers that belong to it, and who made it."""

    letter_id: str
    number: int
    size: int
    """Bytes of the body."""
    at: datetime
    """When it was made; of number 0, when the message was dead-lettered first."""
    by: str | None = None
    why: str | None = None
    replay_id: str | None = None
    """The replay it went out with first."""
    body: bytes = b""
    headers: Mapping[str, Any] | None = None


def current_version(letter: DeadLetterRecord) -> LetterVersion:
    """Return the body that the letter has now, with who made it, as far as its history goes back."""
    edits = [event for event in letter.history if event.event == "edited"]
    made = edits[-1] if letter.version and edits else None
    filed = letter.history[0].at if letter.history else letter.dead_lettered_at
    return LetterVersion(
        letter_id=letter.id,
        number=letter.version,
        size=len(letter.body),
        at=made.at if made is not None else filed,
        by=made.by if made is not None else None,
        why=made.note if made is not None else None,
        replay_id=made.replay_id if made is not None else None,
        body=letter.body,
        headers=letter.headers,
    )
