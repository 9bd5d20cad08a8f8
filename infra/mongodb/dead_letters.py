"""The dead letters in MongoDB."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from bson import Binary
from pymongo import DESCENDING, UpdateOne
from pymongo.errors import DuplicateKeyError

from infra.mongodb.documents import event_document, event_from, letter_event_from, original_value, safe_value
from infra.mongodb.group_commit import GroupCommit
from infra.mongodb.large_bodies import LargeBodies
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterGroup, DeadLetterState, Selection

_MAX_HISTORY = 100
_BATCH = 500  # letters; the driver's default, 16 MB, is ten times that in memory
_UNSETTLED = [str(DeadLetterState.OPEN), str(DeadLetterState.REPLAYING)]


class MongoDeadLetters:
    """`IDeadLetters` on the collection `dead_letters`."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("dead_letters")
        self._commits = GroupCommit(self._collection)
        self._large_bodies = LargeBodies(store)

    async def insert(self, letter: DeadLetterRecord) -> DeadLetterRecord | None:
        """Store the letter unless it is there; return the one that was."""
        document = await self._document(letter)
        with store_errors():
            try:
                inserted = await self._commits.write(
                    UpdateOne({"_id": letter.id}, {"$setOnInsert": {**document, "revision": 0}}, upsert=True)
                )
            except DuplicateKeyError:
                inserted = False
        return None if inserted else await self.get(letter.id)

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
        if document.get("body_pieces"):
            document["body"] = await self._large_bodies.fetch(letter_id, document["body_pieces"])
        return _letter_from(document)

    async def resolve(
        self, *, order_id: str, letter_id: str | None, replay_id: str | None = None, now: datetime
    ) -> int:
        """Mark the order's letters, and the one of this id, resolved."""
        of_order = {"order_id": order_id, "reason": {"$ne": str(DeadLetterReason.MALFORMED)}}
        named = {"_id": letter_id, "replay_id": replay_id}
        which = {"$or": [named, of_order]} if letter_id is not None else of_order
        return await self._move({**which, "state": {"$in": _UNSETTLED}}, DeadLetterState.RESOLVED, "resolved", now)

    async def claim_for_replay(self, letter_id: str, *, replay_id: str, by: str, now: datetime) -> bool:
        """Take an open letter to `replaying`."""
        moved = await self._move(
            {"_id": letter_id, "state": str(DeadLetterState.OPEN)},
            DeadLetterState.REPLAYING,
            "replayed",
            now,
            event={"replay_id": replay_id, "by": by},
            also={"replay_id": replay_id, "replay": {"claimed_at": now, "confirmed_at": None}},
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
        """Reopen letters claimed before that time whose copy was never confirmed."""
        which = {
            "state": str(DeadLetterState.REPLAYING),
            "replay.confirmed_at": None,
            "replay.claimed_at": {"$lt": claimed_before},
        }
        return await self._move(which, DeadLetterState.OPEN, "abandoned", now)

    async def ids_starting_with(self, prefixes: Sequence[str], *, limit: int) -> list[str]:
        """Return the ids that begin with any of these texts, in order: what a short id may stand for."""
        wanted = [{"_id": {"$gte": prefix, "$lt": f"{prefix}\N{REPLACEMENT CHARACTER}"}} for prefix in prefixes]
        if not wanted:
            return []
        with store_errors():
            cursor = self._collection.find({"$or": wanted}, {"_id": True}).sort("_id").limit(limit)
            return [document["_id"] async for document in cursor]

    async def search(self, selection: Selection, *, limit: int, skip: int = 0) -> AsyncIterator[DeadLetterRecord]:
        """Yield the letters of the selection, newest first, without their bodies."""
        with store_errors():
            # On disk: before 6.0 a sort of more than 100 MB fails otherwise.
            cursor = self._collection.find(_filter(selection), {"body": False, "filed": False}, allow_disk_use=True)
            cursor = cursor.sort([("dead_lettered_at", DESCENDING), ("_id", DESCENDING)]).skip(skip).limit(limit)
            async for document in cursor.batch_size(_BATCH):
                yield _letter_from(document)

    async def count(self, selection: Selection) -> int:
        """Return how many letters the selection has."""
        with store_errors():
            return await self._collection.count_documents(_filter(selection))

    async def count_by(self, field: str, selection: Selection) -> dict[str, int]:
        """Return how many letters the selection has for each value of `reason` or `state`."""
        pipeline: list[Document] = [{"$match": _filter(selection)}, {"$group": {"_id": f"${field}", "n": {"$sum": 1}}}]
        with store_errors():
            return {row["_id"]: row["n"] async for row in self._collection.aggregate(pipeline)}

    async def groups(self, selection: Selection) -> Sequence[DeadLetterGroup]:
        """Return the selection by fingerprint, largest group first."""
        pipeline: list[Document] = [
            {"$match": _filter(selection)},
            {"$sort": {"dead_lettered_at": -1}},
            {
                "$group": {
                    "_id": "$fingerprint",
                    "reason": {"$first": "$reason"},
                    "error_type": {"$first": "$error_type"},
                    "error_message": {"$first": "$error_message"},
                    "count": {"$sum": 1},
                    "first_seen": {"$min": "$first_failed_at"},
                    "last_seen": {"$max": "$dead_lettered_at"},
                    "example_id": {"$first": "$_id"},
                }
            },
            {"$sort": {"count": -1, "_id": 1}},
        ]
        with store_errors():
            rows = [row async for row in self._collection.aggregate(pipeline, allowDiskUse=True)]
        return [DeadLetterGroup(fingerprint=row.pop("_id"), **row) for row in rows]

    async def _document(self, letter: DeadLetterRecord) -> Document:
        """Return the letter's document; a body too large for it is stored in pieces first."""
        if not LargeBodies.is_large(letter.body):
            return _document(letter)
        pieces = await self._large_bodies.keep(letter.id, letter.body)
        return {**_document(replace(letter, body=b"")), "body_pieces": pieces}

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
        entry = {"at": now, "event": name, **(event or {})}
        with store_errors():
            result = await self._collection.update_many(
                which,
                {
                    "$set": {"state": str(state), "state_changed_at": now, **(also or {})},
                    "$push": {"history": {"$each": [entry], "$slice": -_MAX_HISTORY}},
                    "$inc": {"revision": 1},
                },
            )
        return int(result.modified_count)


def _filter(selection: Selection) -> Document:
    """Return the query of a selection; every value is a plain one, so none can be read as an operator."""
    wanted: Document = {"_id": {"$in": list(selection.ids)}} if selection.ids else {}
    simple = {
        "state": selection.state,
        "reason": selection.reason,
        "fingerprint": selection.group,
        "order_id": selection.order_id,
        "trace_id": selection.trace_id,
    }
    wanted.update({name: {"$eq": str(value)} for name, value in simple.items() if value is not None})
    between = {"$gte": selection.since, "$lt": selection.until}
    between = {operator: at for operator, at in between.items() if at is not None}
    if between:
        wanted["dead_lettered_at"] = between
    return wanted


def _document(letter: DeadLetterRecord) -> Document:
    return {
        "state": str(letter.state),
        "state_changed_at": letter.dead_lettered_at,
        "reason": str(letter.reason),
        "order_id": letter.order_id,
        "trace_id": letter.trace_id,
        "body": Binary(letter.body),
        "headers": safe_value(letter.headers),
        "error_type": letter.error_type,
        "error_message": letter.error_message,
        "error_chain": list(letter.error_chain),
        "attempts": [event_document(attempt) for attempt in letter.attempts],
        "fingerprint": letter.fingerprint,
        "origin_exchange": letter.origin_exchange,
        "origin_routing_key": letter.origin_routing_key,
        "first_failed_at": letter.first_failed_at,
        "dead_lettered_at": letter.dead_lettered_at,
        "replay_count": letter.replay_count,
        "replay_id": letter.replay_id,
        "filed": list(letter.filed),
        "history": [{k: v for k, v in asdict(event).items() if v is not None} for event in letter.history],
    }


def _letter_from(document: Document) -> DeadLetterRecord:
    plain: dict[str, Any] = {name: document[name] for name in DeadLetterRecord.__dataclass_fields__ if name in document}
    return DeadLetterRecord(
        **{
            **plain,
            "id": document["_id"],
            "state": DeadLetterState(document["state"]),
            "body": bytes(document.get("body", b"")),
            "headers": original_value(document["headers"]),
            "error_chain": tuple(document.get("error_chain", ())),
            "attempts": tuple(event_from(attempt) for attempt in document.get("attempts", ())),
            "filed": tuple(document.get("filed", ())),
            "history": tuple(letter_event_from(event) for event in document.get("history", ())),
        }
    )
