"""What a dead letter leaves behind when it goes: its earlier bodies, and the pieces of large ones."""

from infra.mongodb.store import Document, MongoStore, store_errors

_COLLECTIONS = ("dead_letter_versions", "dead_letter_bodies")
_AGE = 3_600_000  # milliseconds: pieces are stored before their letter is
_SOME = 1_000


class MongoLeftovers:
    """Removes what belongs to no dead letter any more: MongoDB lets the letter itself go when it has expired."""

    def __init__(self, store: MongoStore) -> None:
        self._store = store

    async def remove(self, *, older_than: int = _AGE) -> int:
        """Remove what was kept longer ago than that (milliseconds) and has no letter; return how many documents.

        By the store's own clock. What was kept again since it was looked at stays. Raises StoreUnavailableError.
        """
        return sum([await self._remove_from(name, older_than) for name in _COLLECTIONS])

    async def _remove_from(self, name: str, older_than: int) -> int:
        collection = self._store.collection(name)
        removed = 0
        with store_errors():
            async for document in collection.aggregate(_orphans(older_than)):
                result = await collection.delete_one({"_id": document["_id"], "kept_at": document["kept_at"]})
                removed += result.deleted_count
        return removed


def _orphans(older_than: int) -> list[Document]:
    return [
        {
            "$match": {
                "$expr": {"$lt": ["$kept_at", {"$subtract": ["$$NOW", older_than]}]},
                "kept_at": {"$type": "date"},
            }
        },
        {"$project": {"letter_id": True, "kept_at": True}},
        {"$lookup": {"from": "dead_letters", "localField": "letter_id", "foreignField": "_id", "as": "letter"}},
        {"$match": {"letter": []}},
        {"$project": {"kept_at": True}},
        {"$limit": _SOME},
    ]
