"""The replay jobs in MongoDB."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.errors import JobConflictError
from worker.domain.replay import Origin
from worker.domain.replay_job import ACTIVE, CANCELLABLE, RUNNING, JobState, ReplayJob, ReplayOptions
from worker.domain.selection import DeadLetterState, Selection

_QUEUE = "orders.dlq"  # one job at a time for a queue, and there is one queue
_TRIES = 5
_RUNNING = [str(state) for state in RUNNING]


class MongoReplayJobs:
    """`IReplayJobs` on the collection `replays`. A unique index keeps the active jobs to one."""

    def __init__(self, store: MongoStore) -> None:
        self._store = store
        self._collection = store.collection("replays")

    async def add(self, job: ReplayJob) -> ReplayJob | None:
        """Store a new job; where another one is active store nothing and return that one."""
        await self._store.ensure_indexes("replays", "replay_items")  # without them two could start at once
        for _ in range(_TRIES):
            with store_errors():
                try:
                    await self._collection.insert_one(
                        {"_id": job.id, **_plan_of(job), **_state_of(job), "runner_until": None}
                    )
                except DuplicateKeyError:
                    active = await self.active()
                    if active is not None:
                        return active
                else:
                    return None
        raise JobConflictError("other replay jobs come and go too fast for this one to begin: try again")

    async def active(self) -> ReplayJob | None:
        """Return the job that is active, None when none is."""
        with store_errors():
            found = await self._collection.find_one({"active": True, "queue": _QUEUE})
        return None if found is None else _job_from(found)

    async def get(self, job_id: str) -> ReplayJob | None:
        """Return one job."""
        with store_errors():
            found = await self._collection.find_one({"_id": job_id})
        return None if found is None else _job_from(found)

    async def ids_starting_with(self, prefix: str, *, limit: int) -> Sequence[str]:
        """Return the ids that begin with this text, in order."""
        which = {"_id": {"$gte": prefix, "$lt": f"{prefix}\N{REPLACEMENT CHARACTER}"}}
        with store_errors():
            return [row["_id"] async for row in self._collection.find(which, {"_id": True}).sort("_id").limit(limit)]

    async def latest(self, *, limit: int) -> Sequence[ReplayJob]:
        """Return the newest jobs, newest first."""
        with store_errors():
            cursor = self._collection.find().sort("created_at", DESCENDING).limit(limit)
            return [_job_from(document) async for document in cursor]

    async def move(self, job: ReplayJob, *, expected: ReplayJob) -> bool:
        """Store the job's new state, if the stored one is as expected."""
        which = {"_id": job.id, "state": str(expected.state), "state_since": expected.state_since}
        with store_errors():
            try:
                moved = await self._collection.update_one(which, {"$set": _state_of(job)})
            except DuplicateKeyError:
                raise JobConflictError(f"another replay job is active: {job.id} cannot go on beside it") from None
        return bool(moved.matched_count)

    async def set_rate(self, job_id: str, rate: float) -> bool:
        """Store another highest rate, unless the job is over."""
        which = {"_id": job_id, "state": {"$in": [str(state) for state in CANCELLABLE]}}
        with store_errors():
            changed = await self._collection.update_one(which, {"$set": {"options.rate": rate}})
        return bool(changed.matched_count)

    async def note(self, job_id: str, note: str | None) -> None:
        """Store what a running job waits for just now."""
        with store_errors():
            await self._collection.update_one({"_id": job_id, "state": {"$in": _RUNNING}}, {"$set": {"note": note}})

    async def hold(self, runner: str, *, seconds: float) -> ReplayJob | None:
        """Take or keep the job that is running, for so long by the store's clock."""
        free = {"$or": [{"runner": runner}, {"$expr": {"$lte": ["$runner_until", "$$NOW"]}}]}
        until = {"$add": ["$$NOW", round(seconds * 1000)]}
        with store_errors():
            held = await self._collection.find_one_and_update(
                {"active": True, "queue": _QUEUE, "state": {"$in": _RUNNING}, **free},  # by the index of the active one
                [{"$set": {"runner": runner, "runner_until": until}}],
                return_document=ReturnDocument.AFTER,
            )
        return _job_from(held) if held else None

    async def release(self, runner: str) -> None:
        """Give up what this runner holds."""
        with store_errors():
            await self._collection.update_many(
                {"active": True, "runner": runner}, {"$set": {"runner": None, "runner_until": None}}
            )


def _plan_of(job: ReplayJob) -> Document:
    """Return what no change of state changes."""
    return {
        "queue": _QUEUE,
        "selection": {**asdict(job.selection), "state": str(job.selection.state), "ids": list(job.selection.ids)},
        "options": asdict(job.options),
        "by": job.by,
        "why": job.why,
        "created_at": job.created_at,
        "cutoff": job.cutoff,
    }


def _state_of(job: ReplayJob) -> Document:
    """Return what a change of state may change; not who holds it."""
    return {
        "active": job.state in ACTIVE,
        "state": str(job.state),
        "state_since": job.state_since,
        "total": job.total,
        "resumes_as": None if job.resumes_as is None else str(job.resumes_as),
        "round": job.round,
        "because": job.because,
        "note": job.note,
        "finished_at": job.finished_at,
    }


def _job_from(document: Document) -> ReplayJob:
    names = set(ReplayJob.__dataclass_fields__) & set(document)
    resumes_as = document["resumes_as"]
    return ReplayJob(
        **{
            **{name: document[name] for name in names},
            "id": document["_id"],
            "state": JobState(document["state"]),
            "resumes_as": None if resumes_as is None else JobState(resumes_as),
            "selection": _selection_from(document["selection"]),
            "options": _options_from(document["options"]),
        }
    )


def _selection_from(document: Document) -> Selection:
    times: dict[str, datetime | None] = {name: document[name] for name in ("since", "until")}
    return Selection(
        **{**document, **times, "ids": tuple(document["ids"]), "state": DeadLetterState(document["state"])}
    )


def _options_from(document: Document) -> ReplayOptions:
    target: dict[str, Any] | None = document["target"]
    return ReplayOptions(**{**document, "target": None if target is None else Origin(**target)})
