"""What each worker says of itself, for `logistics status`."""

from datetime import datetime
from typing import Any

from pymongo import WriteConcern

from infra.mongodb.store import MongoStore, store_errors

_IN_MEMORY = WriteConcern(w=1)
"""The next report is a second or two away: none is worth that the journal is written for it, while orders wait."""


class MongoWorkerReports:
    """The collection `workers`: one document a worker process, gone an hour after its last report."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("workers").with_options(write_concern=_IN_MEMORY)

    async def report(self, name: str, report: dict[str, Any], *, now: datetime) -> None:
        """Store a worker's report. Raises StoreUnavailableError."""
        with store_errors():
            await self._collection.replace_one({"_id": name}, {**report, "seen_at": now}, upsert=True)

    async def all(self) -> list[dict[str, Any]]:
        """Return every report, newest first. Raises StoreUnavailableError."""
        with store_errors():
            rows = [row async for row in self._collection.find().sort("seen_at", -1)]
        return [{"name": row.pop("_id"), **row} for row in rows]
