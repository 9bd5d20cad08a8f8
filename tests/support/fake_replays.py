"""The replay jobs' stores as fakes written by hand: they keep the contracts of `worker.domain.replay_ports`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.support.fakes import FakeDeadLetters, _Claim, _matches
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.errors import JobConflictError
from worker.domain.replay_job import (
    ACTIVE,
    CANCELLABLE,
    ON_ITS_WAY,
    RUNNING,
    ItemState,
    ReplayItem,
    ReplayJob,
    ReplayTally,
)
from worker.domain.replay_ports import Claim
from worker.domain.selection import DeadLetterState

_FINAL = frozenset(ItemState) - {ItemState.WAITING, *ON_ITS_WAY}
_OUTCOMES = frozenset({ItemState.RESOLVED, ItemState.FAILED_AGAIN, ItemState.NOT_SENT})


class FakeTime:
    """A clock of one's own, wall and monotonic alike."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.seconds = 1_000.0

    def clock(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


@dataclass
class Wire:
    """What lies between a process and its servers: every call passes it on the way there and on the way back."""

    at: Callable[[str], Awaitable[None]] | None = None
    """Called with `name:before` and `name:after` for each call; what it raises, the call raises. Raised before,
    nothing is done; raised after, all is done, and the caller does not know."""

    async def there(self, name: str) -> None:
        await asyncio.sleep(0)  # lets others in, as a real server does; what follows is atomic
        if self.at is not None:
            await self.at(f"{name}:before")

    async def back(self, name: str) -> None:
        if self.at is not None:
            await self.at(f"{name}:after")


@dataclass
class FakeReplayJobs:
    """`IReplayJobs` in memory, by a clock that does not move by itself."""

    time: FakeTime
    wire: Wire = field(default_factory=Wire)
    jobs: dict[str, ReplayJob] = field(default_factory=dict)

    async def add(self, job: ReplayJob) -> ReplayJob | None:
        await self.wire.there("add")
        active = self._active()
        if active is None:
            self.jobs[job.id] = job
        await self.wire.back("add")
        return active

    async def active(self) -> ReplayJob | None:
        await self.wire.there("active")
        return self._active()

    async def get(self, job_id: str) -> ReplayJob | None:
        await self.wire.there("get")
        return self.jobs.get(job_id)

    async def ids_starting_with(self, prefix: str, *, limit: int) -> Sequence[str]:
        await self.wire.there("ids_starting_with")
        return sorted(job_id for job_id in self.jobs if job_id.startswith(prefix))[:limit]

    async def latest(self, *, limit: int) -> Sequence[ReplayJob]:
        await self.wire.there("latest")
        return sorted(self.jobs.values(), key=lambda job: job.created_at, reverse=True)[:limit]

    async def move(self, job: ReplayJob, *, expected: ReplayJob) -> bool:
        await self.wire.there("move")
        stored = self.jobs.get(job.id)
        moved = stored is not None and (stored.state, stored.state_since) == (expected.state, expected.state_since)
        if stored is not None and moved:
            active = self._active()
            if job.state in ACTIVE and active is not None and active.id != job.id:
                raise JobConflictError(f"another replay job is active: {job.id} cannot go on beside it")
            self.jobs[job.id] = replace(
                job, options=stored.options, runner=stored.runner, runner_until=stored.runner_until
            )
        await self.wire.back("move")
        return moved

    async def set_rate(self, job_id: str, rate: float) -> bool:
        await self.wire.there("set_rate")
        stored = self.jobs.get(job_id)
        there = stored is not None and stored.state in CANCELLABLE
        if stored is not None and there:
            self.jobs[job_id] = replace(stored, options=replace(stored.options, rate=rate))
        await self.wire.back("set_rate")
        return there

    async def note(self, job_id: str, note: str | None) -> None:
        await self.wire.there("note")
        stored = self.jobs.get(job_id)
        if stored is not None and stored.state in RUNNING:
            self.jobs[job_id] = replace(stored, note=note)
        await self.wire.back("note")

    async def hold(self, runner: str, *, seconds: float) -> ReplayJob | None:
        await self.wire.there("hold")
        job = self._active()
        if job is None or job.state not in RUNNING:
            return None
        if job.runner != runner and job.runner_until is not None and job.runner_until > self.time.now:
            return None
        held = replace(job, runner=runner, runner_until=self.time.now + timedelta(seconds=seconds))
        self.jobs[job.id] = held
        await self.wire.back("hold")
        return held

    async def release(self, runner: str) -> None:
        await self.wire.there("release")
        job = self._active()
        if job is not None and job.runner == runner:
            self.jobs[job.id] = replace(job, runner=None, runner_until=None)
        await self.wire.back("release")

    def _active(self) -> ReplayJob | None:
        return next((job for job in self.jobs.values() if job.state in ACTIVE), None)


@dataclass
class FakeReplayItems:
    """`IReplayItems` in memory, on the letters of a FakeDeadLetters."""

    dead_letters: FakeDeadLetters
    wire: Wire = field(default_factory=Wire)
    page: int = 5_000
    items: dict[tuple[str, str], ReplayItem] = field(default_factory=dict)
    died_at: dict[tuple[str, str], datetime] = field(default_factory=dict)

    async def select(self, job: ReplayJob, *, after: str | None) -> str | None:
        await self.wire.there("select")
        found = [
            letter
            for letter in self.dead_letters.letters.values()
            if _matches(letter, job.selection) and letter.dead_lettered_at <= job.takes_until
        ]
        found = sorted(found, key=_place)
        page = [letter for letter in found if after is None or _place(letter) > after][: self.page]
        for letter in page:
            key = (job.id, letter.id)
            self.items.setdefault(key, ReplayItem(job.id, letter.id, size=len(letter.body)))
            self.died_at.setdefault(key, letter.dead_lettered_at)
        await self.wire.back("select")
        return _place(page[-1]) if len(page) == self.page else None

    async def next_waiting(self, job_id: str, *, limit: int) -> Sequence[ReplayItem]:
        await self.wire.there("next_waiting")
        return self._of_job(job_id, [ItemState.WAITING])[:limit]

    async def on_their_way(self, job_id: str | None, *, limit: int) -> AsyncIterator[ReplayItem]:
        await self.wire.there("on_their_way")
        found = [item for item in self.items.values() if item.state in ON_ITS_WAY and job_id in {None, item.job_id}]
        for item in sorted(found, key=lambda item: (str(item.sent_at), item.job_id, item.letter_id))[:limit]:
            yield item

    async def canaries(self, job_id: str, *, canary_round: int) -> Sequence[ReplayItem]:
        await self.wire.there("canaries")
        return [item for item in self.items.values() if (item.job_id, item.round) == (job_id, canary_round)]

    async def last_ended(self, job_id: str, *, since: datetime, limit: int) -> Sequence[ReplayItem]:
        await self.wire.there("last_ended")
        ended = [
            (item.ended_at, item)
            for item in self._of_job(job_id, _OUTCOMES)
            if item.ended_at is not None and item.ended_at >= since
        ]
        return [item for _, item in sorted(ended, key=lambda pair: pair[0], reverse=True)][:limit]

    async def record(self, items: Sequence[ReplayItem]) -> None:
        if not items:
            return
        await self.wire.there("record")
        for item in items:
            key = (item.job_id, item.letter_id)
            if self.items[key].state not in _FINAL:
                self.items[key] = replace(item, size=self.items[key].size)
        await self.wire.back("record")

    async def tally(self, job_id: str, *, overdue_before: datetime) -> ReplayTally:
        await self.wire.there("tally")
        counts: dict[ItemState, int] = {}
        overdue = 0
        for item in self._of_job(job_id, list(ItemState)):
            counts[item.state] = counts.get(item.state, 0) + 1
            overdue += item.state in ON_ITS_WAY and item.sent_at is not None and item.sent_at < overdue_before
        return ReplayTally(counts, overdue)

    async def of_job(self, job_id: str, *, states: Sequence[ItemState], limit: int) -> AsyncIterator[ReplayItem]:
        await self.wire.there("of_job")
        for item in self._of_job(job_id, states)[:limit]:
            yield item

    def _of_job(self, job_id: str, states: Sequence[ItemState] | frozenset[ItemState]) -> list[ReplayItem]:
        found = [item for item in self.items.values() if item.job_id == job_id and item.state in states]
        return sorted(found, key=lambda item: (self.died_at[job_id, item.letter_id], item.letter_id))


@dataclass
class FakeReplayClaims:
    """`IReplayClaims` in memory, on the letters of a FakeDeadLetters."""

    dead_letters: FakeDeadLetters
    wire: Wire = field(default_factory=Wire)

    async def claim(
        self, replays: Mapping[str, str], *, job_id: str, by: str, now: datetime, note: str | None = None
    ) -> Mapping[str, Claim]:
        await self.wire.there("claim")
        fresh = set()
        for letter_id, replay_id in replays.items():
            letter = self._letters.get(letter_id)
            if letter is None or letter.state is not DeadLetterState.OPEN:
                continue
            if replay_id in {letter.replay_id, *(event.replay_id for event in letter.history)}:
                continue
            event = LetterEvent(at=now, event="replayed", replay_id=replay_id, by=by, note=note, job_id=job_id)
            self._change(letter_id, event, state=DeadLetterState.REPLAYING)
            self._letters[letter_id] = replace(self._letters[letter_id], replay_id=replay_id, job_id=job_id)
            self.dead_letters._claims[letter_id] = _Claim(now)
            fresh.add(letter_id)
        await self.wire.back("claim")
        return self._found(replays, fresh)

    async def claim_again(
        self, replays: Mapping[str, str], *, claimed_before: datetime, now: datetime
    ) -> Mapping[str, Claim]:
        await self.wire.there("claim_again")
        fresh = set()
        for letter_id, replay_id in replays.items():
            letter, claimed = self._letters.get(letter_id), self.dead_letters._claims.get(letter_id)
            if letter is None or claimed is None or claimed.confirmed_at is not None or claimed.taken_at is not None:
                continue
            if claimed.claimed_at >= claimed_before:
                continue
            if letter.state is DeadLetterState.REPLAYING and letter.replay_id == replay_id:
                self._change(letter_id, LetterEvent(at=now, event="sent_again", replay_id=replay_id))
                self.dead_letters._claims[letter_id] = _Claim(now)
                fresh.add(letter_id)
        await self.wire.back("claim_again")
        return self._found(replays, fresh)

    async def confirm(self, replays: Mapping[str, str], *, now: datetime) -> None:
        await self.wire.there("confirm")
        for letter_id, replay_id in replays.items():
            letter = self._letters.get(letter_id)
            if letter is not None and letter.replay_id == replay_id:
                claims = self.dead_letters._claims
                claims[letter_id] = replace(claims[letter_id], confirmed_at=now)
        await self.wire.back("confirm")

    async def give_back(self, replays: Mapping[str, str], *, now: datetime, note: str) -> None:
        await self.wire.there("give_back")
        for letter_id, replay_id in replays.items():
            letter = self._letters.get(letter_id)
            if letter is None or letter.state is not DeadLetterState.REPLAYING or letter.replay_id != replay_id:
                continue
            event = LetterEvent(at=now, event="not_sent", replay_id=replay_id, note=note)
            self._change(letter_id, event, state=DeadLetterState.OPEN)
        await self.wire.back("give_back")

    async def look(self, letter_ids: Sequence[str], *, settled_only: bool) -> Sequence[DeadLetterRecord]:
        await self.wire.there("look")
        found = [self._letters[letter_id] for letter_id in letter_ids if letter_id in self._letters]
        return [
            replace(letter, body=b"", attempts=(), filed=())
            for letter in found
            if not (settled_only and letter.state is DeadLetterState.REPLAYING)
        ]

    @property
    def _letters(self) -> dict[str, DeadLetterRecord]:
        return self.dead_letters.letters

    def _change(self, letter_id: str, event: LetterEvent, *, state: DeadLetterState | None = None) -> None:
        kept = self._letters[letter_id].state if state is None else state
        self.dead_letters._move(lambda letter: letter.id == letter_id, kept, event)

    def _found(self, replays: Mapping[str, str], fresh: set[str]) -> dict[str, Claim]:
        found = {}
        for letter_id in replays:
            letter, claimed = self._letters.get(letter_id), self.dead_letters._claims.get(letter_id)
            if letter is not None:
                confirmed = claimed is not None and claimed.confirmed_at is not None
                found[letter_id] = Claim(replace(letter, filed=()), fresh=letter_id in fresh, confirmed=confirmed)
        return found


def _place(letter: DeadLetterRecord) -> str:
    return f"{letter.dead_lettered_at.isoformat()} {letter.id}"


class FakeCircuits:
    """`ICircuits` that says what it is told to."""

    def __init__(self) -> None:
        self.why: str | None = None

    async def why_open(self) -> str | None:
        await asyncio.sleep(0)
        return self.why
