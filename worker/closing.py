"""Closing what may be gone already, or silent: not for long."""

import asyncio
import threading

from infra.mongodb.store import MongoStore
from infra.rabbitmq.depths import QueueDepths
from worker.domain.errors import BrokerUnavailableError

_STORE_TIMEOUT = 2.0
_BROKER_TIMEOUT = 1.0


async def close_store(store: MongoStore) -> None:
    """Close the store's connections; a store that hangs must not keep us."""
    closing = threading.Thread(target=store.close, daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, _STORE_TIMEOUT)


async def close_depths(depths: QueueDepths) -> None:
    """Close the connection to the broker."""
    try:
        async with asyncio.timeout(_BROKER_TIMEOUT):
            await depths.close()
    except (BrokerUnavailableError, TimeoutError):
        pass  # it is gone, which is what was wanted
