"""Group commit: writes that arrive while one is in flight go out together in the next.

A journaled majority write costs about the same for one document as for a hundred. So there is one write in flight at
a time, no timer, and no added wait when idle. Measured with a real store: 3.5 times the orders per second.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from pymongo import InsertOne, UpdateMany
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from infra.mongodb.store import Collection, Document, as_unavailable
from worker.domain.errors import StoreUnavailableError

_MAX_BATCH = 500

Write = UpdateMany | InsertOne[Document]
_Waiting = tuple[Write, "asyncio.Future[None]"]


class GroupCommit:
    """Writes single updates to one collection, gathered into unordered bulk writes.

    Never put two updates of one document in flight at once: their order would be the server's choice.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._waiting: list[_Waiting] = []
        self._flight: asyncio.Task[None] | None = None

    async def write(self, update: Write) -> None:
        """Return once the update is journaled on a majority.

        Raises, for this update alone, DuplicateKeyError, StoreUnavailableError or what else the server says.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((update, done))
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        await done

    async def _fly(self) -> None:
        try:
            await asyncio.sleep(0)  # whoever is about to ask comes along
            while self._waiting:
                batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
                await self._commit(batch)
        finally:
            self._flight = None
            left, self._waiting = self._waiting, []  # only when the flight was cancelled: the loop is going down
            _fail(left, StoreUnavailableError("the write was cancelled before it began"))

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._collection.bulk_write([update for update, _ in batch], ordered=False)
        except BulkWriteError as error:
            _settle(batch, error.details)
        except asyncio.CancelledError:
            _fail(batch, StoreUnavailableError("the write was cancelled; nothing is known about it"))
            raise
        except Exception as error:  # noqa: BLE001 - an update that is unencodable or too large must hurt no neighbour
            unavailable = as_unavailable(error) if isinstance(error, PyMongoError) else None
            if unavailable is not None or len(batch) == 1:
                _fail(batch, unavailable or error)
            else:
                for single in batch:
                    await self._commit([single])
        else:
            for _, done in batch:
                if not done.done():
                    done.set_result(None)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(error)


def _settle(batch: Sequence[_Waiting], details: Any) -> None:
    """Hand each error of a bulk write to the very update that caused it."""
    errors = {error["index"]: error for error in details.get("writeErrors", [])}
    not_safe = details.get("writeConcernErrors", [])
    for index, (_, done) in enumerate(batch):
        if done.done():
            continue
        if not_safe:  # first: what makes an insert a duplicate may not be on a majority itself
            done.set_exception(StoreUnavailableError(f"the write is not safe yet: {not_safe[0].get('errmsg', '')}"))
        elif index in errors:
            done.set_exception(_as_exception(errors[index]))
        else:
            done.set_result(None)


def _as_exception(error: dict[str, Any]) -> Exception:
    code, message = error.get("code"), str(error.get("errmsg", ""))
    if code == 11000:
        return DuplicateKeyError(message, code, error)
    failure = OperationFailure(message, code, error)
    return as_unavailable(failure) or failure
