"""Everything a replay job works with, in memory: its stores, a broker, workers that take what is sent, and a clock."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.support.fake_audit import FakeAuditLog
from tests.support.fake_replays import (
    FakeCircuits,
    FakeReplayClaims,
    FakeReplayItems,
    FakeReplayJobs,
    FakeTime,
    Wire,
)
from tests.support.fakes import Copy, FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.audit import Audit
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.replay import Origin
from worker.domain.replay_job import RUNNING, ItemState, JobState, ReplayJob, ReplayOptions, ReplayTally
from worker.domain.replay_jobs import ReplayJobs
from worker.domain.replay_runner import ReplayRunner
from worker.domain.replay_sender import ReplaySender
from worker.domain.replay_settling import ReplaySettling
from worker.domain.selection import DeadLetterState, Selection

GRACE = 15.0
EVERYTHING = Selection()
ORDERS = Origin("orders", "order.placed")
FAST = ReplayOptions(rate=1000.0, start_rate=1000.0)

Fate = Callable[[DeadLetterRecord], bool | None]
"""What a worker does with a letter's copy: True ships it, False fails it, None puts it off."""


def ships(_: DeadLetterRecord) -> bool | None:
    return True


@dataclass
class FakeBroker:
    """One queue: `IReplayPublisher` and `IWaiting`. Every copy it ever took is in `copies`."""

    wire: Wire = field(default_factory=Wire)
    copies: list[Copy] = field(default_factory=list)
    ready: list[Copy] = field(default_factory=list)
    refuse: Callable[[Copy], Exception | None] = lambda _: None
    """Returns what to raise instead of taking a copy."""
    lose: Callable[[Copy], bool] = lambda _: False
    """Whether a copy is confirmed to nobody and arrives nowhere: as when the connection is cut before it."""
    looks: int = 0

    async def publish_copy(
        self, *, exchange: str, routing_key: str, body: bytes, headers: dict[str, object], message_id: str
    ) -> None:
        await self.wire.there("publish")
        copy = Copy(exchange, routing_key, body, headers, message_id)
        error = self.refuse(copy)
        if not self.lose(copy) and error is None:
            self.copies.append(copy)
            self.ready.append(copy)
        if error is not None:
            raise error
        await self.wire.back("publish")

    async def waiting_at(self, exchange: str, routing_key: str) -> int | None:
        await self.wire.there("waiting_at")
        self.looks += 1
        here = [copy for copy in self.ready if (copy.exchange, copy.routing_key) == (exchange, routing_key)]
        return len(here) if exchange == "orders" else None


class Room:
    """A replay job's world. `run` moves it on: the runners a step, the workers what they have, the clock."""

    def __init__(self, *letters: DeadLetterRecord, page: int = 5_000) -> None:
        self.time = FakeTime(NOW)
        self.wire = Wire()
        """Between the runner and its servers; operators and workers have wires of their own."""
        self.letters = FakeDeadLetters()
        self.letters.letters = {letter.id: letter for letter in letters}
        self.jobs = FakeReplayJobs(self.time, wire=self.wire)
        self.items = FakeReplayItems(self.letters, wire=self.wire, page=page)
        self.claims = FakeReplayClaims(self.letters, wire=self.wire)
        self.broker = FakeBroker(wire=self.wire)
        self.circuits = FakeCircuits()
        self.audit_log = FakeAuditLog()
        self.fate: Fate = ships
        self.busy = False
        """Whether the workers take nothing at all for now."""
        self.put_off: list[Copy] = []
        """Copies that a worker has taken and put into a delay queue; they come back when they are put into `ready`."""
        self._last_runner = 0
        self.runner = self.new_runner()
        self.service = ReplayJobs(
            letters=self.letters,
            jobs=FakeReplayJobs(self.time, jobs=self.jobs.jobs),
            items=FakeReplayItems(self.letters, items=self.items.items, died_at=self.items.died_at),
            audit=Audit(self.audit_log, clock=self.time.clock),
            clock=self.time.clock,
        )

    def new_runner(self, wire: Wire | None = None) -> ReplayRunner:
        """Return a runner as a process that starts now has it: it knows nothing but what is stored."""
        self._last_runner += 1
        jobs, items, claims, broker = self.jobs, self.items, self.claims, self.broker
        if wire is not None:
            jobs, items, claims = replace(jobs, wire=wire), replace(items, wire=wire), replace(claims, wire=wire)
            broker = replace(broker, wire=wire)
        sender = ReplaySender(
            claims=claims,
            publisher=broker,
            default_origin=ORDERS,
            publish_timeout=GRACE,
            clock=self.time.clock,
        )
        return ReplayRunner(
            jobs=jobs,
            items=items,
            sender=sender,
            settling=ReplaySettling(
                items=items,
                claims=claims,
                sender=sender,
                waiting=broker,
                grace=GRACE,
                clock=self.time.clock,
                monotonic=self.time.monotonic,
            ),
            circuits=self.circuits,
            audit=Audit(self.audit_log, clock=self.time.clock),
            name=f"w-{self._last_runner}",
            clock=self.time.clock,
            monotonic=self.time.monotonic,
        )

    async def start(self, options: ReplayOptions = FAST, selection: Selection = EVERYTHING) -> ReplayJob:
        """Start a job, a moment after everything that is there."""
        self.time.pass_by(1.0)
        return await self.service.start(selection, options, by="anna", why="fixed")

    async def step(self) -> None:
        """A step of the runner; then the workers; then the pause that the runner asked for."""
        pause = await self.runner.step()
        await self.work()
        self.time.pass_by(max(pause, 0.01))

    async def run(self, *, seconds: float = 3600.0, until: Callable[[], bool] | None = None) -> None:
        """Go on until every job has ended or stopped and no copy waits, or `until`; fail when that takes too long."""
        over = self.time.seconds + seconds
        while not (self._is_quiet() if until is None else until()):
            assert self.time.seconds < over, f"not within {seconds} s: {self.jobs.jobs} {self.items.items}"
            await self.step()

    async def run_for(self, seconds: float) -> None:
        """Go on for so long."""
        over = self.time.seconds + seconds
        while self.time.seconds < over:
            await self.step()

    async def work(self) -> None:
        """The workers take every copy that is ready, unless they are busy."""
        if self.busy:
            return
        taken, self.broker.ready[:] = list(self.broker.ready), []
        for copy in taken:
            await self._handle(copy)

    async def _handle(self, copy: Copy) -> None:
        letter_id, replay_id = str(copy.headers["dead_letter_id"]), str(copy.headers["replay_id"])
        await self.letters.mark_taken(letter_id, replay_id=replay_id, by="w", now=self.time.now)
        letter = self.letters.letters[letter_id]
        fate = self.fate(letter)
        if fate is None:
            self.put_off.append(copy)
        elif fate:
            await self.letters.resolve(
                order_id=letter.order_id, letter_id=letter_id, replay_id=replay_id, now=self.time.now
            )
        else:
            again = a_letter(
                id=letter_id,
                replay_id=replay_id,
                filed=(f"again:{replay_id}",),
                dead_lettered_at=self.time.now,
                order_id=letter.order_id,
            )
            self.letters.letters[letter_id] = letter.absorb(again)

    @property
    def job(self) -> ReplayJob:
        """The newest job, as stored."""
        return list(self.jobs.jobs.values())[-1]

    def state(self) -> JobState:
        """Where the newest job stands."""
        return self.job.state

    def copies(self) -> dict[str, int]:
        """How many copies of each letter there ever were."""
        counts: dict[str, int] = {}
        for copy in self.broker.copies:
            letter_id = str(copy.headers["dead_letter_id"])
            counts[letter_id] = counts.get(letter_id, 0) + 1
        return counts

    async def tally(self) -> ReplayTally:
        return (await self.service.progress(self.job.id)).tally

    async def counts(self) -> dict[ItemState, int]:
        """The sum of the newest job, without zeros."""
        return dict((await self.tally()).counts)

    def with_state(self, state: DeadLetterState) -> list[str]:
        """The ids of the letters in a state."""
        return [letter.id for letter in self.letters.letters.values() if letter.state is state]

    def _is_quiet(self) -> bool:
        return not self.broker.ready and not any(job.state in RUNNING for job in self.jobs.jobs.values())


def letters(number: int, **fields: object) -> list[DeadLetterRecord]:
    """Return so many open letters."""
    return [a_letter(**fields) for _ in range(number)]
