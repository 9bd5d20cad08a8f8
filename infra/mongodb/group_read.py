"""Group read: look-ups by id that arrive while one is under way go out together in the next.

A round trip costs about the same for one document as for a hundred. As with the group commit there is one under way
at a time, no timer, and no added wait when idle. What is asked for is read after it was asked for, never before.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from infra.mongodb.store import Collection, Document, store_errors
from worker.domain.errors import StoreUnavailableError

_MAX_BATCH = 500


class GroupRead:
    """Finds single documents of one collection by id, gathered into common queries."""

    def __init__(self, collection: Collection, *, fields: Mapping[str, Any] | None = None) -> None:
        """`fields`: the projection; the whole document when none is given."""
        self._collection = collection
        self._fields = fields
        self._waiting: dict[str, list[asyncio.Future[Document | None]]] = {}
        self._flight: asyncio.Task[None] | None = None

    async def get(self, document_id: str) -> Document | None:
        """Return the document, None when there is none. Raises StoreUnavailableError or what else the server says."""
        found: asyncio.Future[Document | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(document_id, []).append(found)
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        return await found

    async def _fly(self) -> None:
        try:
            await asyncio.sleep(0)  # whoever is about to ask comes along
            while self._waiting:
                batch = dict(list(self._waiting.items())[:_MAX_BATCH])
                for document_id in batch:
                    del self._waiting[document_id]
                await self._read(batch)
        finally:
            self._flight = None
            left, self._waiting = self._waiting, {}  # only when the flight was cancelled: the loop is going down
            _fail(left, StoreUnavailableError("the look-up was cancelled before it began"))

    async def _read(self, batch: Mapping[str, list["asyncio.Future[Document | None]"]]) -> None:
        try:
            with store_errors():
                cursor = self._collection.find({"_id": {"$in": list(batch)}}, self._fields)
                found = {document["_id"]: document for document in await cursor.to_list(None)}
        except asyncio.CancelledError:
            _fail(batch, StoreUnavailableError("the look-up was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            _fail(batch, error)
        else:
            for document_id, futures in batch.items():
                for future in futures:
                    if not future.done():
                        future.set_result(found.get(document_id))


def _fail(batch: Mapping[str, list["asyncio.Future[Document | None]"]], error: Exception) -> None:
    for futures in batch.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)
