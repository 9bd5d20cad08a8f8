"""A selection in words, for the audit log."""

from dataclasses import fields
from datetime import datetime

from worker.domain.selection import Selection

_FEW = 3


def in_words(selection: Selection) -> str:
    """Return what the selection asks for, in one line: `reason malformed, since 2026-03-01T12:00:00Z`."""
    parts = []
    for item in fields(selection):
        value = getattr(selection, item.name)
        if item.name == "ids" and value:
            parts.append(f"id {', '.join(value)}" if len(value) <= _FEW else f"{len(value):,} ids")
        elif value is not None and value != item.default:
            shown = f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
            parts.append(f"{item.name.replace('_', ' ')} {shown}")
    return ", ".join(parts) or "all"
