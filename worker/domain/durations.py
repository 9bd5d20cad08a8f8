"""Durations and times as people write them: `500ms`, `10s`, `2m`, `1h`; a bare number is seconds."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*")


def parse_duration(text: str) -> float:
    """Return the duration in seconds.

    Raises ValueError when the text is not a duration.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write 500ms, 10s, 2m or 1h (a bare number is seconds)")
    return float(match[1]) * _UNITS[match[2] or "s"]


def format_duration(seconds: float) -> str:
    """Return the shortest exact way to write the duration; `parse_duration` reads it back.

    Exact to the millisecond, which is the unit of a queue's TTL.
    """
    milliseconds = round(seconds * 1000)
    if milliseconds % 1000:
        return f"{milliseconds}ms"
    whole = milliseconds // 1000
    if whole > _UNITS["d"] and whole % _UNITS["d"] == 0:  # one day is 24h to most
        return f"{whole // 86400}d"
    for unit, size in (("h", 3600), ("m", 60)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def read_time(text: str, *, now: datetime) -> datetime:
    """Return the time that an ISO time or a duration ago means; without a zone it is UTC.

    Raises ValueError when it is neither.
    """
    text = text.strip()
    try:
        if text[-1:].isalpha() and text[-1:] not in "Zz":
            return now - timedelta(seconds=parse_duration(text))
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: write 2h, 30m or 3d (ago), or 2026-01-31T08:00:00Z (UTC when no zone is given)"
        ) from None
