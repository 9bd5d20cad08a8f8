"""Discarding and restoring dead letters in MongoDB."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from infra.mongodb.dead_letter_search import selection_filter
from infra.mongodb.letter_moves import move_to
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.selection import DeadLetterState, Selection

_BATCH = 10_000  # ids; some 500 kB an answer


class MongoTriage:
    """`ITriage` on the collection `dead_letters`."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("dead_letters")

    async def ids(self, selection: Selection, *, claimed_before: datetime | None = None) -> Sequence[str]:
        """Return the ids of the selection, in no order; nothing else of the letters is read."""
        which = selection_filter(selection)
        if claimed_before is not None:
            which["replay.claimed_at"] = {"$lt": claimed_before}
        with store_errors():
            cursor = self._collection.find(which, {"_id": True}).batch_size(_BATCH)
            return [document["_id"] async for document in cursor]

    async def discard(self, selection: Selection, *, by: str, why: str, expires_at: datetime, now: datetime) -> int:
        """Take the open letters of the selection to `discarded`."""
        update = move_to(
            DeadLetterState.DISCARDED,
            {"event": "discarded", "by": by, "note": why},
            now=now,
            also={"expires_at": expires_at},
        )
        return await self._update(selection_filter(replace(selection, state=DeadLetterState.OPEN)), update)

    async def restore(self, selection: Selection, *, by: str, why: str, now: datetime) -> int:
        """Take the discarded letters of the selection back to `open`."""
        event = {"event": "restored", "by": by, "note": why}
        update = move_to(DeadLetterState.OPEN, event, now=now, also={"expires_at": None})
        return await self._update(selection_filter(replace(selection, state=DeadLetterState.DISCARDED)), update)

    async def give_up(self, selection: Selection, *, claimed_before: datetime, by: str, why: str, now: datetime) -> int:
        """Take the replaying letters that were claimed before that time back to `open`."""
        which = selection_filter(replace(selection, state=DeadLetterState.REPLAYING))
        which["replay.claimed_at"] = {"$lt": claimed_before}
        return await self._update(
            which, move_to(DeadLetterState.OPEN, {"event": "given_up", "by": by, "note": why}, now=now)
        )

    async def _update(self, which: Document, update: Document) -> int:
        with store_errors():
            result = await self._collection.update_many(which, update)
        return int(result.modified_count)
