"""The samples in MongoDB: one document a period, its time the id, so that there is never a second one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.percentiles import STEPS, Times
from worker.domain.samples import COUNTED, MEASURED, Sample, Slot

_FILLED = {"filled": True}


class MongoSamples:
    """`ISamples` on the collection `samples`."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("samples")

    async def claim(self, at: datetime, *, keep_until: datetime) -> bool:
        """Take on the sample of a period."""
        with store_errors():
            try:
                await self._collection.insert_one({"_id": at, "expires_at": keep_until})
            except DuplicateKeyError:
                return False
        return True

    async def fill(self, sample: Sample) -> None:
        """Store the sample that was claimed."""
        times = {str(step): number for step, number in sample.times.items()}
        figures = {**_FILLED, "counted": dict(sample.counted), "measured": dict(sample.measured), "times": times}
        with store_errors():
            await self._collection.update_one({"_id": sample.at}, {"$set": figures})

    async def get(self, at: datetime) -> Sample | None:
        """Return the sample of a period."""
        with store_errors():
            found = await self._collection.find_one({"_id": at, **_FILLED})
        return None if found is None else Sample(at, found["counted"], found["measured"], _times_of(found["times"]))

    async def slots(self, *, since: datetime, until: datetime, step: timedelta) -> Sequence[Slot]:
        """Return what the samples come to, in slots."""
        with store_errors():
            rows = self._collection.aggregate(
                [
                    {"$match": {"_id": {"$gt": since, "$lte": until}, **_FILLED}},
                    {"$group": {"_id": _slot_start(round(step.total_seconds() * 1000)), **_FIGURES}},
                    {"$sort": {"_id": 1}},
                ]
            )
            return [_slot_from(row) async for row in rows]


def _slot_start(step: int) -> Document:
    """The start of a sample's slot in milliseconds: its period's end belongs to the slot that ends there."""
    within = {"$subtract": [{"$toLong": "$_id"}, 1]}
    return {"$subtract": [within, {"$mod": [within, step]}]}


_FIGURES: Document = {
    **{name: {"$avg": f"$counted.{name}"} for name in COUNTED},
    **{name: {"$max": f"$measured.{name}"} for name in MEASURED},
    **{f"times_{step}": {"$sum": f"$times.{step}"} for step in range(STEPS)},
}


def _slot_from(row: Document) -> Slot:
    return Slot(
        start=datetime.fromtimestamp(row["_id"] / 1000, UTC),
        counted={name: row[name] for name in COUNTED},
        measured={name: row[name] for name in MEASURED},
        times={step: number for step in range(STEPS) if (number := row[f"times_{step}"])},
    )


def _times_of(document: Mapping[str, Any]) -> Times:
    return {int(step): int(number) for step, number in document.items()}
