"""How numbers, spans of time and small charts are written. Pure."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_CLASS = re.compile(r"^[A-Z]\w*(Error|Exception): (?=\S)")
_WIDTH, _HEIGHT = 120.0, 24.0
UNKNOWN = "—"
"""What stands where nobody knows the number."""


def number(value: float | None) -> str:
    """Return `12,345`, or a dash where it is not known."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return a rate with one digit after the point while it is small: `0.4`, `12`."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if 0 < value < 10 else f"{value:,.0f}"


def span(seconds: float | None) -> str:
    """Return a time span in one or two units: `85 ms`, `4.2 s`, `3 min 5 s`, `2 d 4 h`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{round(seconds * 1000)} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = math.floor(seconds)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 "))


def size(count: int) -> str:
    """Return a number of bytes: `812 B`, `1.4 kB`, `3.0 MB`."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def counted(count: int, thing: str) -> str:
    """Return `1 dead letter`, `2 dead letters`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def failure(message: str) -> str:
    """Return an error's words without its class, for lists, where each line would begin alike: `unknown address`."""
    return _CLASS.sub("", message, count=1)


def iso(moment: datetime) -> str:
    """Return an instant as the browser reads it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def spark(values: Sequence[float | None]) -> tuple[str, str]:
    """Return the SVG paths of a small chart, its line and the ground under it; a gap where nothing is known.

    The chart is 120 wide and 24 high; the lowest line is always 0, so that a flat line at the bottom means nothing
    happened.
    """
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    step = _WIDTH / max(len(values) - 1, 1)
    lines, grounds, run = [], [], list[str]()
    for place, value in enumerate([*values, None]):
        if value is not None:
            run.append(f"{place * step:.1f} {_HEIGHT - 1 - value / top * (_HEIGHT - 3):.1f}")
        elif run:
            points = run if len(run) > 1 else [run[0], f"{float(run[0].split()[0]) + 1:.1f} {run[0].split()[1]}"]
            lines.append("M" + "L".join(points))
            first, last = points[0].split()[0], points[-1].split()[0]
            grounds.append(f"M{first} {_HEIGHT:g}L" + "L".join(points) + f"L{last} {_HEIGHT:g}Z")
            run = []
    return "".join(lines), "".join(grounds)
