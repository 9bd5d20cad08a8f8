"""The connection to MongoDB, and the translation of its errors."""

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)
from pymongo.errors import (
    ConfigurationError as MongoConfigurationError,
)

from infra.tls import explained, questioned
from worker.domain.errors import ConfigurationError, StoreUnavailableError

Document = dict[str, Any]
Collection = AsyncIOMotorCollection[Document]
WrittenCollection = AsyncCollection[Document]

_SAFE = WriteConcern(w="majority", j=True)
# Codes that say "not now": not primary, stepping down, shutting down, a majority not reached in time, ….
_NOT_NOW = frozenset({6, 7, 50, 64, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436})
# Of a primary that is frozen, a write that timed out tells the driver nothing: its own look does, every 2 s. A
# connection that was cut while it was idle is not noticed by PyMongo's asyncio client: so none gets old.
_POLLED: dict[str, Any] = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 2_000, "maxIdleTimeMS": 30_000}
_INDEX_TIMEOUT = 600.0
_CLOSE_TIMEOUT = 2.0
_PAUSED_TRIES = 4
# The driver's words when a server takes the connection and then says nothing.
_NOBODY_HEARD = frozenset({"No replica set members found yet", "No servers found yet", "No mongoses found yet"})
_REFUSED = frozenset({13, 18})  # unauthorized, authentication failed

_BY_STATE, _BY_GROUP, _BY_REASON = ("state", ASCENDING), ("fingerprint", ASCENDING), ("reason", ASCENDING)
_BY_FAILURE = ("first_failed_at", ASCENDING)
_NEWEST_FIRST = (("dead_lettered_at", DESCENDING), ("_id", DESCENDING))
_INDEXES = {
    "shipments": [
        IndexModel([("order_id", ASCENDING)], unique=True),
        IndexModel([("status", ASCENDING)]),
        IndexModel([("trace_id", ASCENDING)]),
    ],
    "dead_letters": [
        # State first: every query names the states it wants. The order of lists follows, then what counting and
        # grouping need, which so read no letter.
        IndexModel([_BY_STATE, *_NEWEST_FIRST, _BY_GROUP, _BY_REASON, _BY_FAILURE]),
        IndexModel([_BY_STATE, _BY_GROUP, *_NEWEST_FIRST, _BY_REASON, _BY_FAILURE]),
        IndexModel([_BY_STATE, _BY_REASON, *_NEWEST_FIRST, _BY_GROUP, _BY_FAILURE]),
        IndexModel([("order_id", ASCENDING)]),
        IndexModel([("trace_id", ASCENDING)]),
        IndexModel(
            [("expires_at", ASCENDING)], expireAfterSeconds=0, partialFilterExpression={"state": "discarded"}
        ),  # open ones never go by themselves, whatever date they carry
    ],
    "dead_letter_versions": [IndexModel([("letter_id", ASCENDING), ("number", ASCENDING)])],
    "audit_log": [
        IndexModel([("at", DESCENDING), ("_id", DESCENDING)]),
        IndexModel([("who", ASCENDING), ("at", DESCENDING)]),
        IndexModel([("action", ASCENDING), ("at", DESCENDING)]),
        IndexModel([("job_id", ASCENDING), ("at", DESCENDING)]),
    ],
    "replays": [
        IndexModel([("queue", ASCENDING)], unique=True, partialFilterExpression={"active": True}, name="one_active"),
        IndexModel([("created_at", DESCENDING)]),
    ],
    "replay_items": [
        IndexModel([("state", ASCENDING), ("job", ASCENDING), ("at", ASCENDING), ("letter", ASCENDING)]),
        IndexModel([("job", ASCENDING), ("ended_at", DESCENDING)]),
        IndexModel([("job", ASCENDING), ("round", ASCENDING)], partialFilterExpression={"round": {"$gt": 0}}),
    ],
    "samples": [IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0)],
    "workers": [IndexModel([("seen_at", ASCENDING)], expireAfterSeconds=3600)],
}


class MongoStore:
    """One database; a write to it is journaled on a majority before it counts, but for workers' reports.

    By way of Motor, save for the group commit: Motor hands each operation to a thread, and on a busy loop that thread
    waits for the interpreter's lock before it can send and again before it can read. Measured: with PyMongo's own
    asyncio client, which Motor stands on, a tenth more orders per second for less processor time.
    """

    def __init__(self, uri: str, *, database: str = "logistics", timeout: float = 5.0) -> None:
        """Prepare the client; nothing connects yet. `timeout`: seconds an operation may take, finding a primary
        included. Raises ConfigurationError for an address that cannot be one."""
        milliseconds = round(timeout * 1000)
        options: dict[str, Any] = {
            "appname": "logistics",
            "tz_aware": True,
            "serverSelectionTimeoutMS": milliseconds,
            "connectTimeoutMS": milliseconds,
            "timeoutMS": milliseconds,
        }
        try:
            self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(uri, **options)
            self._writing = AsyncMongoClient[Document](uri, **options, **_POLLED)
        except (MongoConfigurationError, InvalidURI, ValueError) as error:
            raise ConfigurationError(f"LOGISTICS_MONGODB_URI is not a usable address: {type(error).__name__}") from None
        except OSError as error:  # an ssl.SSLError is one, too
            raise ConfigurationError(
                "LOGISTICS_MONGODB_URI: a file of its TLS options cannot be used: "
                f"{'no certificate in PEM format' if isinstance(error, ssl.SSLError) else error.strerror}"
            ) from None
        self._database = self._client.get_database(database, write_concern=_SAFE)

    def collection(self, name: str) -> Collection:
        """Return a collection; its writes are safe ones."""
        return self._database[name]

    def written(self, name: str) -> WrittenCollection:
        """Return a collection for the group commit; its writes are safe ones, too."""
        return self._writing.get_database(self._database.name, write_concern=_SAFE)[name]

    async def ping(self) -> None:
        """Return when the primary answers. Raises StoreUnavailableError."""
        with store_errors():
            hello = await self._hello()
            if not hello.get("isWritablePrimary"):
                raise StoreUnavailableError("MongoDB answers, but no primary does")

    async def describe(self) -> Document:
        """Return the server's version and replica set name. Raises StoreUnavailableError."""
        with store_errors():
            hello = await self._hello()
            build = await self._client.admin.command("buildInfo")
            return {"version": build["version"], "replica_set": hello.get("setName")}

    async def _hello(self) -> Document:
        """Ask the primary who it is, several times when the driver only says that another operation has just failed.

        Of operations that begin together with a refused password, one is told so, the others of a pool that is paused.
        """
        for _ in range(_PAUSED_TRIES):
            try:
                return await self._client.admin.command("hello")
            except AutoReconnect as error:
                if "pool paused" not in str(error):
                    raise
        return await self._client.admin.command("hello")

    async def ensure_indexes(self, *names: str) -> None:
        """Create the indexes that are missing, of these collections or of all. Raises StoreUnavailableError.

        Making one of a full collection may take minutes; given up half-way, it would begin anew at every start. So
        patience is the second try's: mostly all are there, and a connection that has fallen silent must not be
        waited for that long.
        """
        await self.ping()  # a store that is away is told within one operation's time
        for name, indexes in _INDEXES.items():
            if not names or name in names:
                await self._ensure_indexes_of(name, indexes)

    async def _ensure_indexes_of(self, name: str, indexes: Sequence[IndexModel]) -> None:
        try:
            with store_errors():
                await self._database[name].create_indexes(indexes)
        except StoreUnavailableError:
            await self.ping()
            with store_errors(), pymongo.timeout(_INDEX_TIMEOUT):
                await self._database[name].create_indexes(indexes)

    async def prepare(self) -> None:
        """Return when the store can be worked with: indexes there, and a majority that takes writes.

        Raises StoreUnavailableError.
        """
        await self.ensure_indexes()
        with store_errors():
            # Waits for a majority, changes nothing; by the client that writes: the other has just seen the indexes.
            await self.written("workers").delete_one({"_id": "nobody"})

    async def close(self) -> None:
        """Close every connection; of a store that hangs each client is left alone after 2 seconds."""
        closing = threading.Thread(target=self._client.close, daemon=True)
        closing.start()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._writing.close()
        except TimeoutError:
            pass
        await asyncio.to_thread(closing.join, _CLOSE_TIMEOUT)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the driver's 'cannot reach it, try again' errors into StoreUnavailableError; let others through."""
    try:
        yield
    except PyMongoError as error:
        unavailable = as_unavailable(error)
        if unavailable is None:
            raise
        raise unavailable from error


def as_unavailable(error: PyMongoError) -> StoreUnavailableError | None:
    """Return the StoreUnavailableError an error of the driver stands for, None when it is another kind."""
    # Whoever waits for a server while others are refused by it gets their refusal as the words of a time-out.
    waited = isinstance(error, ServerSelectionTimeoutError) and "Authentication failed" in str(error)
    if waited or (isinstance(error, OperationFailure) and error.code in _REFUSED):
        return StoreUnavailableError("MongoDB refuses the user or password of LOGISTICS_MONGODB_URI")
    if (
        isinstance(error, ConnectionFailure | ExecutionTimeout | WTimeoutError)
        or error.timeout
        or (isinstance(error, OperationFailure) and error.code in _NOT_NOW)
    ):
        return StoreUnavailableError(f"MongoDB does not answer: {_in_short(error)}")
    return None


def _in_short(error: PyMongoError) -> str:
    """Return the driver's text without the settings and the topology it appends."""
    text, _, _ = str(error).partition(", Timeout: ")
    text = re.sub(r" \(configured timeouts: [^)]*\)", "", text)[:200]
    if text in _NOBODY_HEARD:
        return "nothing was heard of it in time"
    return questioned(text) if isinstance(error, ServerSelectionTimeoutError) else explained(text)
