"""Whether the store takes a write as the worker makes it."""

import uuid
from datetime import UTC, datetime

from pymongo.errors import PyMongoError

from infra.mongodb.store import MongoStore, as_unavailable
from worker.domain.errors import StoreUnavailableError


async def check_write(store: MongoStore) -> None:
    """Write one document to a journaled majority and delete it again. Raises StoreUnavailableError.

    It is a report of a worker that has stopped: no other collection is needed, nobody shows it, and one that is left
    behind goes away within the hour.
    """
    workers, name = store.collection("workers"), f"doctor-{uuid.uuid4().hex}"
    try:
        await workers.insert_one({"_id": name, "stopped": True, "seen_at": datetime.now(UTC)})
        await workers.delete_one({"_id": name})
    except PyMongoError as error:
        refused = StoreUnavailableError(f"MongoDB does not take a write with w=majority: {str(error)[:200]}")
        raise as_unavailable(error) or refused from error
