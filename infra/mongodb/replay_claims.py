"""The dead letters in MongoDB, as a replay job takes them: many at a time."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from pymongo import UpdateOne

from infra.mongodb.large_bodies import LargeBodies
from infra.mongodb.letter_documents import letter_from
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.replay_ports import Claim
from worker.domain.selection import DeadLetterState

_MAX_HISTORY = 100
_OPEN, _REPLAYING = str(DeadLetterState.OPEN), str(DeadLetterState.REPLAYING)


class MongoReplayClaims:
    """`IReplayClaims` on the collection `dead_letters`. Each claim leaves a mark by which it knows its own."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("dead_letters")
        self._large_bodies = LargeBodies(store)

    async def claim(
        self, replays: Mapping[str, str], *, job_id: str, by: str, now: datetime, note: str | None = None
    ) -> Mapping[str, Claim]:
        """Take those that are open to `replaying`, unless they have been through this very replay before."""
        mark = uuid.uuid4().hex
        updates = []
        for letter_id, replay_id in replays.items():
            event = {"at": now, "event": "replayed", "replay_id": replay_id, "by": by, "job_id": job_id, "note": note}
            claimed = {
                "state": _REPLAYING,
                "state_changed_at": now,
                "replay_id": replay_id,
                "job_id": job_id,
                "replay": {"claimed_at": now, "confirmed_at": None, "taken_at": None, "mark": mark},
            }
            before = {"replay_id": {"$ne": replay_id}, "history.replay_id": {"$ne": replay_id}}
            which = {"_id": letter_id, "state": _OPEN, **before}
            updates.append(UpdateOne(which, _change(claimed, event)))
        await self._write(updates)
        return await self._found(replays, mark)

    async def claim_again(
        self, replays: Mapping[str, str], *, claimed_before: datetime, now: datetime
    ) -> Mapping[str, Claim]:
        """Take those that are in this very replay for long, neither confirmed nor taken, to be sent once more."""
        mark = uuid.uuid4().hex
        silent = {
            "state": _REPLAYING,
            "replay.claimed_at": {"$lt": claimed_before},
            "replay.confirmed_at": None,
            "replay.taken_at": None,
        }
        claimed = {"replay.claimed_at": now, "replay.mark": mark}
        updates = [
            UpdateOne(
                {"_id": letter_id, "replay_id": replay_id, **silent},
                _change(claimed, {"at": now, "event": "sent_again", "replay_id": replay_id}),
            )
            for letter_id, replay_id in replays.items()
        ]
        await self._write(updates)
        return await self._found(replays, mark)

    async def confirm(self, replays: Mapping[str, str], *, now: datetime) -> None:
        """Note that their copies are in the broker's hands."""
        confirmed = {"$set": {"replay.confirmed_at": now}}
        await self._write(
            [UpdateOne({"_id": letter_id, "replay_id": replay}, confirmed) for letter_id, replay in replays.items()]
        )

    async def give_back(self, replays: Mapping[str, str], *, now: datetime, note: str) -> None:
        """Take those whose copy did not go out back to `open`."""
        updates = []
        for letter_id, replay_id in replays.items():
            event = {"at": now, "event": "not_sent", "replay_id": replay_id, "note": note}
            which = {"_id": letter_id, "replay_id": replay_id, "state": _REPLAYING}
            updates.append(UpdateOne(which, _change({"state": _OPEN, "state_changed_at": now}, event)))
        await self._write(updates)

    async def look(self, letter_ids: Sequence[str], *, settled_only: bool) -> Sequence[DeadLetterRecord]:
        """Return these letters without their bodies."""
        which: Document = {"_id": {"$in": list(letter_ids)}}
        if settled_only:
            which["state"] = {"$ne": _REPLAYING}
        with store_errors():
            cursor = self._collection.find(which, {"body": False, "filed": False, "attempts": False})
            return [letter_from(document) async for document in cursor]

    async def _write(self, updates: Sequence[UpdateOne]) -> None:
        if updates:
            with store_errors():
                await self._collection.bulk_write(list(updates), ordered=False)

    async def _found(self, replays: Mapping[str, str], mark: str) -> dict[str, Claim]:
        """Return the letters as they are now; the mark tells those that this claim took."""
        found: dict[str, Claim] = {}
        with store_errors():
            async for document in self._collection.find({"_id": {"$in": list(replays)}}, {"filed": False}):
                replay = document.get("replay") or {}
                fresh = replay.get("mark") == mark
                if fresh:
                    document["body"] = await self._large_bodies.body_of(document["_id"], document)
                confirmed = replay.get("confirmed_at") is not None
                found[document["_id"]] = Claim(letter_from(document), fresh=fresh, confirmed=confirmed)
        return found


def _change(fields: Document, event: Document) -> Document:
    entry = {name: value for name, value in event.items() if value is not None}
    return {
        "$set": fields,
        "$push": {"history": {"$each": [entry], "$slice": -_MAX_HISTORY}},
        "$inc": {"revision": 1},
    }
