"""One line of the audit log."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action of an operator, or of a job that stopped by itself."""

    id: str
    at: datetime
    who: str
    action: str
    """`replay.start`, `replay.pause`, `discard`, `restore`, `edit`, …"""
    why: str
    what: str
    """What it was done to, in words: a selection, a dead letter, a job."""
    job_id: str | None = None
    count: int | None = None
    """How many dead letters it moved; None while it is not finished, or where there is nothing to count."""
    result: str | None = None
    """`done`, or why it was not; None: it has not ended, or the process died over it."""
