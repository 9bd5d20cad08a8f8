"""Text of dead letters for people: whatever a message holds, nothing in it moves the terminal's cursor."""

from datetime import datetime, timedelta
from itertools import pairwise

from worker.cli.output import plain
from worker.domain.body_text import laid_out
from worker.domain.dead_letter import LetterEvent
from worker.domain.shipment import HistoryEvent

_EXCERPT_BYTES = 2_000
_MAX_LINES = 100
_SHORT_ID = 8


def at(time: datetime) -> str:
    """Return a time as an operator reads it, in UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def ago(time: datetime, now: datetime) -> str:
    """Return how long ago a time was, in its largest unit."""
    seconds = int((now - time).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def short_duration(duration: timedelta) -> str:
    """Return how long something took, in its two largest units."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{int(seconds)} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole < 86400 else f"{whole // 86400} d"


def expires(time: datetime, now: datetime) -> str:
    """Return in how long a discarded letter goes: to the nearest day from two on, else in hours or minutes."""
    seconds = int((time - now).total_seconds())
    if seconds >= 2 * 86400:
        return f"expires in {round(seconds / 86400)} days"
    if seconds >= 2 * 3600:
        return f"expires in {seconds // 3600} hours"
    return f"expires in {seconds // 60} min" if seconds >= 60 else "expires now"


def shortened(ids: list[str], known: list[str]) -> dict[str, str]:
    """Return each id cut to the length at which none of `known` begins alike, the same for all."""
    length = _SHORT_ID
    others = sorted({*ids, *known})
    for first, second in pairwise(others):
        common = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))
        length = max(length, common + 1)
    return {letter_id: letter_id[:length] for letter_id in ids}


def body_lines(body: bytes) -> list[str]:
    """Return a message body for reading: JSON laid out, anything else as an escaped excerpt."""
    pretty = laid_out(body)
    if pretty is None:
        excerpt = plain(body[:_EXCERPT_BYTES])
        return [excerpt] if len(body) <= _EXCERPT_BYTES else [excerpt, f"… {len(body) - _EXCERPT_BYTES} more bytes"]
    lines = [plain(line) for line in pretty]
    return lines if len(lines) <= _MAX_LINES else [*lines[:_MAX_LINES], f"… {len(lines) - _MAX_LINES} more lines"]


def event_line(event: HistoryEvent | LetterEvent) -> str:
    """Return what is known of an event besides its name."""
    if isinstance(event, LetterEvent):
        parts = [event.by and f"by {event.by}", event.note, event.replay_id and f"replay {event.replay_id}"]
    else:
        parts = [
            f"try {event.attempt}" if event.attempt is not None else None,
            event.error_message or event.error_type,
            f"next try in {event.delay:.1f} s" if event.delay is not None else None,
            event.worker and f"worker {event.worker}",
        ]
    return plain(" · ".join(part for part in parts if part))
