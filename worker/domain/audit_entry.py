"""One line of the audit log."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AuditAction(StrEnum):
    """What is written down."""

    DISCARD = "discard"
    RESTORE = "restore"
    EDIT = "edit"
    REPLAY_START = "replay.start"
    REPLAY_PAUSE = "replay.pause"
    REPLAY_RESUME = "replay.resume"
    REPLAY_CANCEL = "replay.cancel"
    REPLAY_RATE = "replay.rate"
    REPLAY_STOPPED = "replay.stopped"
    REPLAY_DONE = "replay.done"
    WORKERS_PAUSE = "workers.pause"
    WORKERS_RESUME = "workers.resume"
    WORKERS_PREFETCH = "workers.prefetch"
    WORKERS_CIRCUIT_OPEN = "workers.circuit.open"
    WORKERS_CIRCUIT_RESET = "workers.circuit.reset"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action of an operator, or of a job that stopped by itself."""

    id: str
    at: datetime
    who: str
    action: str
    """An `AuditAction`, or what an earlier version wrote."""
    why: str
    what: str
    """What it was done to, in words: a selection, a dead letter, a job, workers."""
    job_id: str | None = None
    count: int | None = None
    """How many dead letters it moved; None while it is not finished, or where there is nothing to count."""
    result: str | None = None
    """`done`, or why it was not; None: it has not ended, or the process died over it."""
