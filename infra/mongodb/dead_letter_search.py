"""Finding, counting and grouping the dead letters in MongoDB."""

from collections.abc import AsyncIterator, Sequence

from pymongo import DESCENDING

from infra.mongodb.letter_documents import letter_from
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterGroup, Selection

_BATCH = 500  # letters; the driver's default, 16 MB, is ten times that in memory


class MongoDeadLetterSearch:
    """The reading half of `IDeadLetters`, on the collection `dead_letters`."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("dead_letters")

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
            cursor = self._collection.find(
                selection_filter(selection), {"body": False, "filed": False}, allow_disk_use=True
            )
            cursor = cursor.sort([("dead_lettered_at", DESCENDING), ("_id", DESCENDING)]).skip(skip).limit(limit)
            async for document in cursor.batch_size(_BATCH):
                yield letter_from(document)

    async def count(self, selection: Selection) -> int:
        """Return how many letters the selection has."""
        with store_errors():
            return await self._collection.count_documents(selection_filter(selection))

    async def count_by(self, field: str, selection: Selection) -> dict[str, int]:
        """Return how many letters the selection has for each value of `reason` or `state`."""
        pipeline: list[Document] = [
            {"$match": selection_filter(selection)},
            {"$group": {"_id": f"${field}", "n": {"$sum": 1}}},
        ]
        with store_errors():
            return {row["_id"]: row["n"] async for row in self._collection.aggregate(pipeline)}

    async def groups(self, selection: Selection) -> Sequence[DeadLetterGroup]:
        """Return the selection by fingerprint, largest group first."""
        pipeline: list[Document] = [
            {"$match": selection_filter(selection)},
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


def selection_filter(selection: Selection) -> Document:
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
    if selection.not_of_job is not None:
        wanted["job_id"] = {"$ne": selection.not_of_job}
    between = {"$gte": selection.since, "$lt": selection.until}
    between = {operator: at for operator, at in between.items() if at is not None}
    if between:
        wanted["dead_lettered_at"] = between
    return wanted
