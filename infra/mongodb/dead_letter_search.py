"""Finding, counting and grouping the dead letters in MongoDB."""

from collections.abc import AsyncIterator, Sequence

from pymongo import DESCENDING

from infra.mongodb.letter_documents import letter_from
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterGroup, DeadLetterState, HourCount, Place, Selection

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

    async def search(
        self, selection: Selection, *, limit: int, skip: int = 0, after: Place | None = None
    ) -> AsyncIterator[DeadLetterRecord]:
        """Yield the letters of the selection, newest first, without their bodies; with `after`, those beyond it."""
        wanted = selection_filter(selection)
        if after is not None:
            wanted = {"$and": [wanted, _beyond(after)]}
        with store_errors():
            # On disk: before 6.0 a sort of more than 100 MB fails otherwise.
            cursor = self._collection.find(wanted, {"body": False, "filed": False}, allow_disk_use=True)
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
        newest = {"at": "$dead_lettered_at", "id": "$_id"}
        pipeline: list[Document] = [
            {"$match": selection_filter(selection)},
            {
                "$group": {
                    "_id": "$fingerprint",
                    "reason": {"$first": "$reason"},
                    "count": {"$sum": 1},
                    "first_seen": {"$min": "$first_failed_at"},
                    "newest": {"$max": newest},
                }
            },
            {"$sort": {"count": -1, "_id": 1}},
        ]
        with store_errors():
            rows = [row async for row in self._collection.aggregate(pipeline)]
            errors = await self._errors_of([row["newest"]["id"] for row in rows])
        return [
            DeadLetterGroup(
                fingerprint=row["_id"],
                reason=row["reason"],
                error_type=errors.get(row["newest"]["id"], ("", ""))[0],
                error_message=errors.get(row["newest"]["id"], ("", ""))[1],
                count=row["count"],
                first_seen=row["first_seen"],
                last_seen=row["newest"]["at"],
                example_id=row["newest"]["id"],
            )
            for row in rows
        ]

    async def hours(self, selection: Selection) -> Sequence[HourCount]:
        """Return how many letters of the selection were dead-lettered in each hour that has some, the oldest first."""
        hour = {"$dateTrunc": {"date": "$dead_lettered_at", "unit": "hour"}}
        pipeline: list[Document] = [
            {"$match": selection_filter(selection)},
            {"$group": {"_id": hour, "n": {"$sum": 1}}},
            {"$sort": {"_id": 1}},
        ]
        with store_errors():
            return [HourCount(row["_id"], row["n"]) async for row in self._collection.aggregate(pipeline)]

    async def _errors_of(self, letter_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return the error of each of a few letters: type and message."""
        wanted = {"error_type": True, "error_message": True}
        cursor = self._collection.find({"_id": {"$in": list(letter_ids)}}, wanted)
        return {row["_id"]: (row["error_type"], row["error_message"]) async for row in cursor}


def _beyond(place: Place) -> Document:
    """Return the query for what comes after a place, newest first; its first half is what the indexes understand."""
    return {
        "dead_lettered_at": {"$lte": place.at},
        "$or": [{"dead_lettered_at": {"$lt": place.at}}, {"_id": {"$lt": place.id}}],
    }


def selection_filter(selection: Selection) -> Document:
    """Return the query of a selection; every value is a plain one, so none can be read as an operator."""
    states = list(DeadLetterState) if selection.state is None else [selection.state]
    wanted: Document = {"state": {"$in": [str(state) for state in states]}}  # named always: the indexes begin with it
    if selection.ids:
        wanted["_id"] = {"$in": list(selection.ids)}
    simple = {
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
