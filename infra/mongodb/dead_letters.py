"""The dead letters in MongoDB."""

from datetime import datetime

from pymongo.errors import DuplicateKeyError

from infra.mongodb.dead_letter_search import MongoDeadLetterSearch
from infra.mongodb.group_commit import GroupCommit, Verb
from infra.mongodb.large_bodies import LargeBodies
from infra.mongodb.letter_documents import letter_document, letter_from
from infra.mongodb.letter_moves import MAX_HISTORY, move_to
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterState

_MALFORMED = str(DeadLetterReason.MALFORMED)
_UNSETTLED = [str(DeadLetterState.OPEN), str(DeadLetterState.REPLAYING)]


class MongoDeadLetters(MongoDeadLetterSearch):
    """`IDeadLetters` on the collection `dead_letters`."""

    def __init__(self, store: MongoStore) -> None:
        super().__init__(store)
        self._group = GroupCommit(store.written("dead_letters"))
        self._large_bodies = LargeBodies(store)

    async def insert(self, letter: DeadLetterRecord) -> DeadLetterRecord | None:
        """Store the letter unless it is there; return the one that was."""
        document = await self._document(letter)
        while True:
            with store_errors():
                try:
                    await self._group.write(Verb.INSERT, {"_id": letter.id, **document, "revision": 0})
                except DuplicateKeyError:
                    existing = await self.get(letter.id)
                    if existing is not None:
                        return existing  # else it was a discarded one that has expired this very moment
                else:
                    return None

    async def replace(self, letter: DeadLetterRecord, *, expected: DeadLetterRecord) -> bool:
        """Store `letter` in place of `expected`, if that is still what is stored."""
        document = await self._document(letter)
        with store_errors():
            result = await self._collection.update_one(
                {"_id": expected.id, "revision": expected.revision}, {"$set": document, "$inc": {"revision": 1}}
            )
        return bool(result.matched_count)

    async def get(self, letter_id: str) -> DeadLetterRecord | None:
        """Return one dead letter, body included."""
        with store_errors():
            document = await self._collection.find_one({"_id": letter_id})
        if document is None:
            return None
        return letter_from({**document, "body": await self._large_bodies.body_of(letter_id, document)})

    async def resolve(
        self, *, order_id: str | None, letter_id: str | None, replay_id: str | None = None, now: datetime
    ) -> int:
        """Mark the order's letters, and the one of this id, resolved."""
        its_own = {"kind": {"$ne": str(LetterKind.DELIVERED)}, "reason": {"$ne": _MALFORMED}}
        wanted: list[Document] = []
        if order_id is not None:
            wanted.append({"order_id": order_id, **its_own})
        if letter_id is not None:
            wanted.append({"_id": letter_id, "replay_id": replay_id})
        if not wanted:
            return 0
        which: Document = {"$or": wanted, "state": {"$in": _UNSETTLED}}
        return await self._move(which, DeadLetterState.RESOLVED, "resolved", now)

    async def mark_taken(self, letter_id: str, *, replay_id: str, by: str, now: datetime) -> None:
        """Note, once, that a worker has taken the replay's copy."""
        which = {"_id": letter_id, "replay_id": replay_id, "replay.taken_at": None}
        entry = {"at": now, "event": "taken", "replay_id": replay_id, "by": by}
        with store_errors():
            await self._collection.update_one(
                which,
                {
                    "$set": {"replay.taken_at": now},
                    "$push": {"history": {"$each": [entry], "$slice": -MAX_HISTORY}},
                    "$inc": {"revision": 1},
                },
            )

    async def claim_for_replay(self, letter_id: str, *, replay_id: str, by: str, now: datetime) -> bool:
        """Take an open letter to `replaying`."""
        moved = await self._move(
            {"_id": letter_id, "state": str(DeadLetterState.OPEN)},
            DeadLetterState.REPLAYING,
            "replayed",
            now,
            event={"replay_id": replay_id, "by": by},
            also={
                "replay_id": replay_id,
                "job_id": None,
                "replay": {"claimed_at": now, "confirmed_at": None, "taken_at": None},
            },
        )
        return moved == 1

    async def confirm_replay(self, letter_id: str, *, replay_id: str, now: datetime) -> None:
        """Note that the copy is in the broker's hands."""
        with store_errors():
            await self._collection.update_one(
                {"_id": letter_id, "replay_id": replay_id}, {"$set": {"replay.confirmed_at": now}}
            )

    async def give_back(self, letter_id: str, *, replay_id: str, now: datetime) -> None:
        """Take a letter whose copy did not go out back to `open`."""
        which = {"_id": letter_id, "replay_id": replay_id, "state": str(DeadLetterState.REPLAYING)}
        await self._move(which, DeadLetterState.OPEN, "not_sent", now, event={"replay_id": replay_id})

    async def reopen_abandoned(self, *, claimed_before: datetime, now: datetime) -> int:
        """Reopen letters claimed by hand before that time whose copy was never confirmed nor taken."""
        which = {
            "state": str(DeadLetterState.REPLAYING),
            "job_id": None,
            "replay.confirmed_at": None,
            "replay.taken_at": None,
            "replay.claimed_at": {"$lt": claimed_before},
        }
        return await self._move(which, DeadLetterState.OPEN, "abandoned", now)

    async def _document(self, letter: DeadLetterRecord) -> Document:
        """Return the letter's document; a body too large for it is stored in pieces first."""
        body = await self._large_bodies.fields_for(letter.id, letter.body)
        return {**letter_document(letter), **body}

    async def _move(
        self,
        which: Document,
        state: DeadLetterState,
        name: str,
        now: datetime,
        *,
        event: Document | None = None,
        also: Document | None = None,
    ) -> int:
        update = move_to(state, {"event": name, **(event or {})}, now=now, also=also)
        with store_errors():
            result = await self._collection.update_many(which, update)
        return int(result.modified_count)
