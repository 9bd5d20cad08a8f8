"""What replay jobs need from the outside. Each docstring is the contract that the contract tests check."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.replay_job import ItemState, ReplayItem, ReplayJob, ReplayTally


class IReplayJobs(Protocol):
    """The stored jobs. Writes and errors as in `IRepository`."""

    async def add(self, job: ReplayJob) -> ReplayJob | None:
        """Store a new job; where another one is active store nothing and return that one."""
        ...

    async def active(self) -> ReplayJob | None:
        """Return the job that is active, None when none is."""
        ...

    async def get(self, job_id: str) -> ReplayJob | None:
        """Return one job."""
        ...

    async def ids_starting_with(self, prefix: str, *, limit: int) -> Sequence[str]:
        """Return the ids that begin with this text, in order."""
        ...

    async def latest(self, *, limit: int) -> Sequence[ReplayJob]:
        """Return the newest jobs, newest first."""
        ...

    async def move(self, job: ReplayJob, *, expected: ReplayJob) -> bool:
        """Store the job's new state, if the stored one is still in the state of `expected`, and since the same time.

        What was asked for (selection, options, who, why) stays as it is stored.

        False, and nothing stored, when not: a runner that was out for a while must not go on where it once was. Raises
        JobConflictError when the new state is an active one and another job is active.
        """
        ...

    async def set_rate(self, job_id: str, rate: float) -> bool:
        """Store another highest rate; False, and nothing stored, for a job that is over or not there."""
        ...

    async def note(self, job_id: str, note: str | None) -> None:
        """Store what a running job waits for just now; of any other nothing is stored."""
        ...

    async def hold(self, runner: str, *, seconds: float) -> ReplayJob | None:
        """Take or keep the job that is running, for so long by the store's clock; None when there is none to have.

        A job is held by one runner at a time; one that does not come back loses it when its time is over.
        """
        ...

    async def release(self, runner: str) -> None:
        """Give up what this runner holds, so that another can go on at once."""
        ...


class IReplayItems(Protocol):
    """The letters of the jobs and what became of them. Writes and errors as in `IRepository`."""

    async def select(self, job: ReplayJob, *, after: str | None) -> str | None:
        """Write down a page of the open letters that match the job's selection and are not newer than the job.

        `after`: what the call before returned, None at first. Returns None when that was the last page. Safe to
        repeat: a letter that is an item already stays as it is.
        """
        ...

    async def next_waiting(self, job_id: str, *, limit: int) -> Sequence[ReplayItem]:
        """Return the letters whose turn it is, those longest dead first."""
        ...

    def on_their_way(self, job_id: str | None, *, limit: int) -> AsyncIterator[ReplayItem]:
        """Yield the items of a job, or of every job, whose copy is out or may be, in the order they were sent."""
        ...

    async def canaries(self, job_id: str, *, canary_round: int) -> Sequence[ReplayItem]:
        """Return the items that went out in this canary round."""
        ...

    async def last_ended(self, job_id: str, *, since: datetime, limit: int) -> Sequence[ReplayItem]:
        """Return the items that ended as resolved, failed again or not sent since then, the newest first."""
        ...

    async def record(self, items: Sequence[ReplayItem]) -> None:
        """Store what became of these items; one that has ended already is left as it is."""
        ...

    async def tally(self, job_id: str, *, overdue_before: datetime) -> ReplayTally:
        """Return the sum of a job's items; overdue are those on their way that were sent before that time."""
        ...

    def of_job(self, job_id: str, *, states: Sequence[ItemState], limit: int) -> AsyncIterator[ReplayItem]:
        """Yield the items of a job in these states, those longest dead first."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A letter as a claim found it."""

    letter: DeadLetterRecord
    fresh: bool
    """This very claim took it: its copy is to be sent."""
    confirmed: bool
    """The broker is known to have the copy of its last replay."""


class IReplayClaims(Protocol):
    """The letters, as a job takes them. Writes and errors as in `IRepository`. `replays`: a replay id a letter id."""

    async def claim(
        self, replays: Mapping[str, str], *, job_id: str, by: str, now: datetime, note: str | None = None
    ) -> Mapping[str, Claim]:
        """Take those that are open to `replaying`, unless they have been through this very replay before.

        Returns all of them that exist, bodies included. Of several claims of one letter at once one is fresh.
        """
        ...

    async def claim_again(
        self, replays: Mapping[str, str], *, claimed_before: datetime, now: datetime
    ) -> Mapping[str, Claim]:
        """Take those that are in this very replay, neither confirmed nor taken by a worker, to be sent once more.

        Those only whose last claim is older than that. Returns as `claim`; of several at once one is fresh.
        """
        ...

    async def confirm(self, replays: Mapping[str, str], *, now: datetime) -> None:
        """Note that their copies are in the broker's hands."""
        ...

    async def give_back(self, replays: Mapping[str, str], *, now: datetime, note: str) -> None:
        """Take those whose copy did not go out back to `open`; `note` says why."""
        ...

    async def look(self, letter_ids: Sequence[str], *, settled_only: bool) -> Sequence[DeadLetterRecord]:
        """Return these letters without their bodies; with `settled_only` those that are not replaying (any more)."""
        ...


class IWaiting(Protocol):
    """Whether something may still wait in a queue."""

    async def waiting_at(self, exchange: str, routing_key: str) -> int | None:
        """Return how many messages are ready in the queue that messages with this key go to; None when not known.

        Raises BrokerUnavailableError.
        """
        ...


class ICircuits(Protocol):
    """The circuit breakers of all workers."""

    async def why_open(self) -> str | None:
        """Return, in words, that a circuit is open, None when none is. Raises StoreUnavailableError."""
        ...
