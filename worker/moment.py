"""A time in words."""

from datetime import datetime


def moment(at: datetime, *, now: datetime) -> str:
    """Return a time as `12:03 UTC`, with its date where that is not today's."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"
