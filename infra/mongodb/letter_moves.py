"""The one shape of an update that takes dead letters from one state to another."""

from datetime import datetime

from infra.mongodb.store import Document
from worker.domain.selection import DeadLetterState

MAX_HISTORY = 100


def move_to(state: DeadLetterState, *events: Document, now: datetime, also: Document | None = None) -> Document:
    """Return the update: the new state, the events with their time, `also` set, and the revision counted on."""
    entries = [{"at": now, **event} for event in events]
    return {
        "$set": {"state": str(state), "state_changed_at": now, **(also or {})},
        "$push": {"history": {"$each": entries, "$slice": -MAX_HISTORY}},
        "$inc": {"revision": 1},
    }
