"""A replay job whose runner dies, or stands still, at any of its calls: no letter goes out twice, none is skipped."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_replays import Wire
from tests.support.fakes import Copy
from tests.support.letters import a_letter
from tests.support.replay_room import FAST, ORDERS, Room, letters
from worker.domain.errors import BrokerUnavailableError, PublishError
from worker.domain.replay import Origin
from worker.domain.replay_job import CANCELLABLE, RUNNING, ItemState, JobState, ReplayItem, ReplayJob
from worker.domain.replay_sender import MAX_WAVE, ReplaySender, wave_of
from worker.domain.selection import DeadLetterState

OPTIONS = replace(FAST, stop_share=1.0)
LETTERS = 5


class Death(BaseException):
    """Of the process that runs the job."""


class DyingWire:
    """Where a runner dies: at the n-th time that it calls somebody or is answered. It does nothing any more then."""

    def __init__(self, room: Room, dies_at: int | None) -> None:
        self.passed = 0
        self.died_at: str | None = None
        self._dies_at = dies_at
        room.wire.at = self._at

    async def _at(self, name: str) -> None:
        if self.died_at is None:
            self.passed += 1
            if self.passed != self._dies_at:
                return
            self.died_at = name
        raise Death(name)


class Scenario:
    """A job of five letters, each of which comes to its own end, and what is true when it is done."""

    def __init__(self, name: str) -> None:
        self.room = room = Room(*letters(LETTERS))
        first, second, third, *_ = self.ids = sorted(room.letters.letters)
        self.never_sent: set[str] = set()
        if name in {"failures", "slow workers"}:
            room.fate = lambda letter: letter.id not in {second, third}
        if name == "a refused copy":
            self.never_sent = {second}
            room.broker.refuse = _refusing(second, PublishError("full"))
        if name == "a refused canary":
            self.never_sent = {first}
            room.broker.refuse = _refusing(first, PublishError("full"))
        if name == "a cut connection":
            room.broker.refuse = _once(second, BrokerUnavailableError("the connection was lost"))
        self.is_slow = name == "slow workers"

    async def run_until(self, over: Callable[[], bool]) -> None:
        """Move everything on until it is over; slow workers take what there is every forty seconds."""
        while not over():
            assert self.room.time.seconds < 20_000, (self.room.job, self.room.items.items)
            self.room.busy = self.is_slow and self.room.time.seconds % 60 < 40
            try:
                await self.room.step()
            except BrokerUnavailableError:
                self.room.time.pass_by(2.0)

    async def run_for(self, seconds: float) -> None:
        over = self.room.time.seconds + seconds
        await self.run_until(lambda: self.room.time.seconds > over)

    async def run_to_the_end(self) -> None:
        await self.run_until(lambda: self.room.state() not in RUNNING and not self.room.broker.ready)

    async def die_at(self, call: int | None) -> DyingWire:
        """Run until death, or to the end; a new runner stands ready then."""
        wire = DyingWire(self.room, call)
        try:
            await self.run_to_the_end()
        except Death:
            await _let_everybody_end()
        self.room.wire.at = None
        self.room.runner = self.room.new_runner()
        return wire

    def check(self) -> None:
        """Every letter had its one copy, and every item tells what became of its letter."""
        room = self.room
        assert room.copies() == dict.fromkeys(set(self.ids) - self.never_sent - self._left(), 1)
        for (_, letter_id), item in room.items.items.items():
            state = room.letters.letters[letter_id].state
            if item.state is ItemState.RESOLVED:
                assert state is DeadLetterState.RESOLVED
            else:
                assert state is DeadLetterState.OPEN, item
            if item.state is ItemState.FAILED_AGAIN:
                assert room.letters.letters[letter_id].replay_count == 1
            assert (item.state is ItemState.NOT_SENT) == (letter_id in self.never_sent), item
        assert len(room.items.items) == LETTERS

    def _left(self) -> set[str]:
        items = self.room.items.items.values()
        return {item.letter_id for item in items if item.state is ItemState.WAITING}


def _refusing(letter_id: str, error: Exception) -> Callable[[Copy], Exception | None]:
    return lambda copy: error if copy.headers["dead_letter_id"] == letter_id else None


def _once(letter_id: str, error: Exception) -> Callable[[Copy], Exception | None]:
    left = [error]
    return lambda copy: left.pop() if left and copy.headers["dead_letter_id"] == letter_id else None


async def _let_everybody_end() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


SCENARIOS = ["success", "failures", "a refused copy", "a refused canary", "a cut connection", "slow workers"]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_runner_may_die_at_every_one_of_its_calls(name: str) -> None:
    whole = Scenario(name)
    await whole.room.start(OPTIONS)
    calls = (await whole.die_at(None)).passed
    whole.check()
    assert calls > 20
    ends = await whole.room.counts(), whole.room.state()
    for call in range(1, calls + 1):
        scenario = Scenario(name)
        await scenario.room.start(OPTIONS)
        died_at = (await scenario.die_at(call)).died_at
        assert died_at is not None
        await scenario.run_to_the_end()
        assert (await scenario.room.counts(), scenario.room.state()) == ends, (call, died_at)
        scenario.check()


@pytest.mark.parametrize("name", ["success", "failures", "slow workers"])
async def test_a_job_that_is_cancelled_when_its_runner_is_dead_tells_the_truth_about_every_letter(name: str) -> None:
    call, died = 0, True
    while died:
        call += 1
        scenario = Scenario(name)
        room = scenario.room
        job = await room.start(OPTIONS)
        died = (await scenario.die_at(call)).died_at is not None
        if room.state() not in CANCELLABLE:
            continue
        await room.service.cancel(job.id, by="anna")
        sent = len(room.broker.copies)
        await scenario.run_for(120.0)
        assert (room.state(), len(room.broker.copies)) == (JobState.CANCELLED, sent), call
        for item in room.items.items.values():
            state, copies = room.letters.letters[item.letter_id].state, room.copies().get(item.letter_id, 0)
            match item.state:
                case ItemState.WAITING:
                    assert (state, copies) == (DeadLetterState.OPEN, 0), (call, item)
                case ItemState.IN_DOUBT:  # it was claimed, and nothing went out: an operator is told that it is overdue
                    assert (state, copies) == (DeadLetterState.REPLAYING, 0), (call, item)
                case ItemState.RESOLVED:
                    assert (state, copies) == (DeadLetterState.RESOLVED, 1), (call, item)
                case other:
                    assert (other, state, copies) == (ItemState.FAILED_AGAIN, DeadLetterState.OPEN, 1), (call, item)
    assert call > 40


@given(
    deaths=st.lists(st.integers(1, 60), max_size=8),
    name=st.sampled_from(SCENARIOS),
    pauses=st.sets(st.integers(0, 7)),
)
def test_however_often_runners_die_and_operators_pause_every_letter_is_sent_once(
    deaths: list[int], name: str, pauses: set[int]
) -> None:
    async def play() -> None:
        scenario = Scenario(name)
        room = scenario.room
        job = await room.start(OPTIONS)
        for number, call in enumerate(deaths):
            await scenario.die_at(call)
            if number in pauses and room.state() in RUNNING:
                await room.service.pause(job.id, by="anna")
                await scenario.run_for(40.0)
                await room.service.resume(job.id, by="anna")
        await scenario.run_to_the_end()
        scenario.check()

    asyncio.run(play())


@pytest.mark.parametrize("name", ["success", "failures"])
async def test_a_runner_may_stand_still_while_another_does_its_work_and_then_wake_up(name: str) -> None:
    call, stood_still = 0, True
    while stood_still:
        call += 1
        scenario = Scenario(name)
        room = scenario.room
        await room.start(OPTIONS)
        where, wake_up = await _stand_still(scenario, call)
        stood_still = where is not None
        if where in {"claim:after", "publish:before"}:
            continue  # nobody can tell this one from a dead one: it may send what another has sent by then
        room.runner = room.new_runner(Wire())
        await scenario.run_to_the_end()
        ends = await room.counts(), room.state()
        await wake_up()
        await room.work()
        assert (await room.counts(), room.state()) == ends, (call, where)
        scenario.check()
    assert call > 40


async def _stand_still(scenario: Scenario, call: int) -> tuple[str | None, Callable[[], "asyncio.Future[None]"]]:
    """Run until the call; return which one it was, and how to let the runner that makes it go on."""
    room, passed, where = scenario.room, 0, None
    reached, woken = asyncio.Event(), asyncio.Event()

    async def stop_at(name: str) -> None:
        nonlocal passed, where
        passed += 1
        if passed == call:
            where = name
            reached.set()
            await woken.wait()

    sleeper, room.wire.at = room.runner, stop_at
    driving = asyncio.create_task(scenario.run_until(lambda: woken.is_set() or room.state() not in RUNNING))
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait([driving, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert room.runner is sleeper

    def wake_up() -> "asyncio.Future[None]":
        woken.set()
        return driving

    return where, wake_up


def test_a_wave_is_bounded_by_letters_and_bytes_but_never_empty() -> None:
    small = [ReplayItem("j", str(number), size=10) for number in range(300)]
    large = [ReplayItem("j", str(number), size=5_000_000) for number in range(3)]
    assert len(wave_of(small, letters=1_000)) == MAX_WAVE
    assert [len(wave_of(small, letters=letters)) for letters in (-3, 0, 1, 7)] == [0, 0, 1, 7]
    assert len(wave_of(large, letters=3)) == 1
    assert [item.letter_id for item in wave_of([*small[:2], *large], letters=5)] == ["0", "1", "0"]
    assert len(wave_of([replace(large[0], size=10**9)], letters=3)) == 1
    assert wave_of([], letters=3) == []


# What one call finds that another has begun


def the_sender(room: Room, *, on_copy: Callable[[ItemState], None] = lambda _: None) -> ReplaySender:
    return ReplaySender(
        claims=room.claims,
        publisher=room.broker,
        default_origin=ORDERS,
        publish_timeout=0.05,
        on_copy=on_copy,
        clock=room.time.clock,
    )


async def a_waiting_item(room: Room) -> tuple[ReplayJob, ReplayItem]:
    job = await room.start(OPTIONS)
    await room.items.select(job, after=None)
    [item] = await room.items.next_waiting(job.id, limit=2)
    return job, item


async def test_a_copy_is_its_letter_byte_for_byte_with_ids_of_its_own_and_who_and_why_are_noted() -> None:
    room = Room(a_letter(body=b'{"order_id": "A-1",\n "x": 1.10}', origin_routing_key="order.placed.eu"))
    job, item = await a_waiting_item(room)
    [sent] = await the_sender(room).send(job, [item])
    [copy] = room.broker.copies
    [letter] = room.letters.letters.values()
    assert (copy.exchange, copy.routing_key, copy.body) == ("orders", "order.placed.eu", letter.body)
    assert (copy.headers["dead_letter_id"], copy.headers["replay_id"]) == (letter.id, item.replay_id)
    assert copy.message_id not in {letter.id, item.replay_id}
    assert (sent.state, sent.sent_at) == (ItemState.SENT, room.time.now)
    assert (letter.state, letter.replay_id, letter.job_id) == (DeadLetterState.REPLAYING, item.replay_id, job.id)
    assert (letter.history[-1].event, letter.history[-1].by, letter.history[-1].job_id) == ("replayed", "anna", job.id)


async def test_a_redirected_job_sends_elsewhere_and_the_letter_tells_where() -> None:
    room = Room(a_letter())
    job, item = await a_waiting_item(room)
    job = replace(job, options=replace(job.options, target=Origin("orders-v2", "order.moved")))
    await the_sender(room).send(job, [item])
    [copy] = room.broker.copies
    [letter] = room.letters.letters.values()
    assert (copy.exchange, copy.routing_key) == ("orders-v2", "order.moved")
    assert (copy.headers["origin_exchange"], copy.headers["origin_routing_key"]) == ("orders-v2", "order.moved")
    assert letter.history[-1].note == "to exchange 'orders-v2', routing key 'order.moved'"


async def test_a_letter_that_another_runner_has_claimed_is_in_doubt_and_known_as_sent_when_that_is_noted() -> None:
    room = Room(a_letter())
    job, item = await a_waiting_item(room)
    await room.claims.claim({item.letter_id: item.replay_id}, job_id=job.id, by="anna", now=room.time.now)
    [doubtful] = await the_sender(room).send(job, [item])
    await room.claims.confirm({item.letter_id: item.replay_id}, now=room.time.now)
    [known] = await the_sender(room).send(job, [item])
    assert (doubtful.state, known.state) == (ItemState.IN_DOUBT, ItemState.SENT)
    assert room.broker.copies == []


async def test_a_letter_that_has_been_through_this_very_replay_is_not_sent_again() -> None:
    room = Room(a_letter())
    room.fate = lambda _: False
    job, item = await a_waiting_item(room)
    await the_sender(room).send(job, [item])
    await room.work()
    [again] = await the_sender(room).send(job, [item])
    assert (again.state, len(room.broker.copies)) == (ItemState.FAILED_AGAIN, 1)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (DeadLetterState.DISCARDED, "it is discarded already"),
        (DeadLetterState.RESOLVED, "it is resolved already"),
        (DeadLetterState.REPLAYING, "it is replaying already"),
        (None, "the dead letter was deleted"),
    ],
)
async def test_a_letter_that_is_not_open_any_more_is_skipped_with_the_reason(
    state: DeadLetterState | None, why: str
) -> None:
    room = Room(a_letter())
    job, item = await a_waiting_item(room)
    letter = room.letters.letters.pop(item.letter_id)
    if state is not None:
        room.letters.letters[letter.id] = replace(letter, state=state)
    [skipped] = await the_sender(room).send(job, [item])
    assert (skipped.state, skipped.why, room.broker.copies) == (ItemState.SKIPPED, why, [])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, ItemState.SENT),
        (PublishError("full"), ItemState.NOT_SENT),
        (BrokerUnavailableError("gone"), ItemState.IN_DOUBT),
    ],
)
async def test_of_each_copy_it_is_told_whether_it_was_sent(error: Exception | None, told: ItemState) -> None:
    room, heard = Room(a_letter()), list[ItemState]()
    job, item = await a_waiting_item(room)
    if error is not None:
        room.broker.refuse = _refusing(item.letter_id, error)
    await the_sender(room, on_copy=heard.append).send(job, [item])
    assert heard == [told]


async def test_a_broker_that_is_silent_for_too_long_leaves_a_copy_in_doubt() -> None:
    room = Room(a_letter())
    job, item = await a_waiting_item(room)

    async def silent(name: str) -> None:
        if name == "publish:after":
            await asyncio.sleep(10)

    room.wire.at = silent
    [doubtful] = await the_sender(room).send(job, [item])
    assert (doubtful.state, doubtful.why) == (ItemState.IN_DOUBT, "the broker did not confirm it within 0.05 s")
    assert room.with_state(DeadLetterState.REPLAYING) == [item.letter_id]


async def test_letters_that_nobody_claimed_are_sent_although_everything_was_thought_to_be_out() -> None:
    room = Room(*letters(3))
    job = await room.start(OPTIONS)
    await room.items.select(job, after=None)
    waiting = await room.items.next_waiting(job.id, limit=3)
    await room.items.record([replace(item, state=ItemState.IN_DOUBT, sent_at=room.time.now) for item in waiting])
    await room.jobs.move(replace(job, state=JobState.SETTLING, total=3), expected=job)
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {ItemState.RESOLVED: 3})
    assert set(room.copies().values()) == {1}


async def test_a_runner_that_looked_for_a_copy_long_ago_does_not_send_what_another_has_sent_since() -> None:
    room = Room(a_letter())
    first, second = room.runner, room.new_runner()
    room.broker.refuse = lambda _: BrokerUnavailableError("the connection was lost")
    await room.start(replace(OPTIONS, canary=0))
    await room.run(until=lambda: room.broker.looks == 1)  # the first one has seen the queue empty, and stands still
    room.busy, room.runner = True, second
    room.broker.refuse = lambda _: None
    room.broker.copies.clear()
    await room.run(until=lambda: bool(room.broker.copies) or room.job.state is JobState.DONE)
    [item] = room.items.items.values()
    room.items.items[item.job_id, item.letter_id] = replace(
        item, state=ItemState.IN_DOUBT
    )  # it died before the confirm
    letter_id = item.letter_id
    room.letters._claims[letter_id] = replace(room.letters._claims[letter_id], confirmed_at=None)
    room.broker.ready.clear()  # a worker has it in hand, and is slow to say so
    room.time.pass_by(30.0)
    await first.step()
    await first.step()
    assert len(room.broker.copies) == 1
