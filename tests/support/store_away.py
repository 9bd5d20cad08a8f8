"""Closing a store that nobody answers for."""

from infra.mongodb.store import MongoStore

_CLOSED: list[MongoStore] = []
"""Kept to the end of the run. PyMongo may leave the socket of a connect that its close cuts short, held by what was
cancelled; with the store it would be found in the middle of some later test, which then fails."""


async def close_store_that_is_away(store: MongoStore) -> None:
    """Close it, and keep what is left of it."""
    await store.close()
    _CLOSED.append(store)
