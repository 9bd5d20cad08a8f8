"""The letters of the replay jobs in MongoDB, one small document each."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, UpdateOne

from infra.mongodb.dead_letter_search import selection_filter
from infra.mongodb.large_bodies import PIECE
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.replay_job import ON_ITS_WAY, ItemState, ReplayItem, ReplayJob, ReplayTally

_PAGE = 5_000
_BATCH = 500  # items; the driver's default, 16 MB an answer, is many times that in memory
_FINAL = [str(state) for state in ItemState if state not in {ItemState.WAITING, *ON_ITS_WAY}]
_OUTCOMES = [str(state) for state in (ItemState.RESOLVED, ItemState.FAILED_AGAIN, ItemState.NOT_SENT)]
_FIRST_SENT_FIRST = [("sent_at", ASCENDING), ("_id", ASCENDING)]
_OLDEST_FIRST = [("at", ASCENDING), ("letter", ASCENDING)]


class MongoReplayItems:
    """`IReplayItems` on the collection `replay_items`."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("replay_items")
        self._letters = store.collection("dead_letters")

    async def select(self, job: ReplayJob, *, after: str | None) -> str | None:
        """Write down a page of the letters the job is about; no letter passes through this process."""
        matching: Document = {
            "$and": [selection_filter(job.selection), {"dead_lettered_at": {"$lte": job.takes_until}}]
        }
        if after is not None:
            matching["$and"].append(_beyond(after, "$gt"))
        with store_errors():
            edge = await self._edge(matching)
            if edge is not None:
                matching["$and"] += [_beyond(edge, "$lte")]
            await self._letters.aggregate(_write_down(job.id, matching)).to_list(None)
        return edge

    async def _edge(self, matching: Document) -> str | None:
        """Return where the page ends, None when all that is left fits the page."""
        cursor = self._letters.find(matching, {"dead_lettered_at": True})
        cursor = cursor.sort([("dead_lettered_at", ASCENDING), ("_id", ASCENDING)]).skip(_PAGE - 1).limit(1)
        edges = [f"{document['dead_lettered_at'].isoformat()} {document['_id']}" async for document in cursor]
        return edges[0] if edges else None

    async def next_waiting(self, job_id: str, *, limit: int) -> Sequence[ReplayItem]:
        """Return the letters whose turn it is, those longest dead first."""
        return [item async for item in self.of_job(job_id, states=[ItemState.WAITING], limit=limit)]

    async def on_their_way(self, job_id: str | None, *, limit: int) -> AsyncIterator[ReplayItem]:
        """Yield the items whose copy is out or may be, in the order they were sent."""
        which: Document = {"state": {"$in": [str(state) for state in ON_ITS_WAY]}}
        if job_id is not None:
            which["job"] = job_id
        with store_errors():
            async for document in self._collection.find(which).sort(_FIRST_SENT_FIRST).limit(limit).batch_size(_BATCH):
                yield _item_from(document)

    async def canaries(self, job_id: str, *, canary_round: int) -> Sequence[ReplayItem]:
        """Return the items that went out in this canary round."""
        with store_errors():
            return [_item_from(found) async for found in self._collection.find({"job": job_id, "round": canary_round})]

    async def last_ended(self, job_id: str, *, since: datetime, limit: int) -> Sequence[ReplayItem]:
        """Return the items that have an outcome since then, the newest first."""
        which = {"job": job_id, "ended_at": {"$gte": since}, "state": {"$in": _OUTCOMES}}
        with store_errors():
            cursor = self._collection.find(which).sort("ended_at", DESCENDING).limit(limit)
            return [_item_from(document) async for document in cursor]

    async def record(self, items: Sequence[ReplayItem]) -> None:
        """Store what became of these items; one that has ended already is left as it is."""
        if not items:
            return
        updates = [UpdateOne({"_id": _id(item), "state": {"$nin": _FINAL}}, {"$set": _changes(item)}) for item in items]
        with store_errors():
            await self._collection.bulk_write(updates, ordered=False)

    async def tally(self, job_id: str, *, overdue_before: datetime) -> ReplayTally:
        """Return the sum of a job's items."""
        every_state = [str(state) for state in ItemState]
        pipeline: list[Document] = [
            {"$match": {"state": {"$in": every_state}, "job": job_id}},
            {"$group": {"_id": "$state", "n": {"$sum": 1}}},
        ]
        late = {"job": job_id, "state": {"$in": [str(s) for s in ON_ITS_WAY]}, "sent_at": {"$lt": overdue_before}}
        with store_errors():
            counts = {ItemState(row["_id"]): row["n"] async for row in self._collection.aggregate(pipeline)}
            overdue = await self._collection.count_documents(late)
        return ReplayTally(counts, overdue)

    async def of_job(self, job_id: str, *, states: Sequence[ItemState], limit: int) -> AsyncIterator[ReplayItem]:
        """Yield the items of a job in these states, those longest dead first."""
        which = {"state": {"$in": [str(state) for state in states]}, "job": job_id}
        with store_errors():
            async for document in self._collection.find(which).sort(_OLDEST_FIRST).limit(limit).batch_size(_BATCH):
                yield _item_from(document)


def _beyond(place: str, operator: str) -> Document:
    """Return the letters beyond a place in the order of time and id, or up to it; the first bound is for the index."""
    time, _, letter_id = place.partition(" ")
    at = datetime.fromisoformat(time)
    outer, strictly = ("$gte", "$gt") if operator == "$gt" else ("$lte", "$lt")
    same = {"dead_lettered_at": at, "_id": {operator: letter_id}}
    return {"dead_lettered_at": {outer: at}, "$or": [{"dead_lettered_at": {strictly: at}}, same]}


def _write_down(job_id: str, matching: Document) -> list[Document]:
    in_pieces = {"$multiply": [{"$ifNull": ["$body_pieces", 0]}, PIECE]}
    item = {
        "_id": {"$concat": [f"{job_id}:", "$_id"]},
        "job": job_id,
        "letter": "$_id",
        "at": "$dead_lettered_at",
        "size": {"$add": [{"$binarySize": "$body"}, in_pieces]},
        "state": str(ItemState.WAITING),
        "round": {"$literal": 0},
    }
    merge = {"into": "replay_items", "on": "_id", "whenMatched": "keepExisting", "whenNotMatched": "insert"}
    return [{"$match": matching}, {"$project": item}, {"$merge": merge}]


def _id(item: ReplayItem) -> str:
    return f"{item.job_id}:{item.letter_id}"


def _changes(item: ReplayItem) -> Document:
    return {
        "state": str(item.state),
        "round": item.round,
        "sent_at": item.sent_at,
        "ended_at": item.ended_at,
        "why": item.why,
        "failed_as": item.failed_as,
    }


def _item_from(document: Mapping[str, Any]) -> ReplayItem:
    optional = {name: document.get(name) for name in ("sent_at", "ended_at", "why", "failed_as")}
    return ReplayItem(
        job_id=document["job"],
        letter_id=document["letter"],
        size=document["size"],
        state=ItemState(document["state"]),
        round=document["round"],
        **optional,
    )
