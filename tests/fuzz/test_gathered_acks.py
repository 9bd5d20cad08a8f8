"""Fuzzing gathered acks: done with in any order, every delivery is settled once, and none that is still in hand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from aiormq.abc import DeliveredMessage
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from infra.rabbitmq.gathered_acks import GatheredAcks, Word
from tests.support.fake_broker import FakeChannel, Settled
from tests.support.fuzz_settings import deep_steps, examples
from tests.support.skipping_time import SkippingLoop

WORDS = {
    (False, False): Word.ACK,
    (True, False): Word.NACK,
    (True, True): Word.RETURN,
    (False, True): Word.REJECT,
}
"""By whether the broker is to requeue, and whether it is told by a reject."""


@dataclass(frozen=True)
class Message:
    """What the settlement asks of a delivery."""

    channel: FakeChannel
    delivery_tag: int


class Ledger:
    """One channel as the broker sees it."""

    def __init__(self, channel: FakeChannel) -> None:
        self.channel = channel
        self.handed = 0
        self.done: dict[int, Word] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.settled: dict[int, Word] = {}
        self.is_stuck = False
        channel.on_told = self.take

    def hand_out(self, count: int) -> None:
        self.channel.in_hand.update(range(self.handed + 1, self.handed + count + 1))
        self.handed += count

    def take(self, told: Settled) -> None:
        word = WORDS[told.requeue, told.rejected]
        assert self.done.get(told.tag) is word, f"{told.tag} is still in hand, or is to be settled otherwise"
        self.settled[told.tag] = word


async def _die(channel: FakeChannel) -> None:
    channel.die()


class GatheredAcksLife(RuleBasedStateMachine):
    """Deliveries of several channels, done with in any order, on sockets that are slow or die."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SkippingLoop()

    @initialize(wait_for_gaps=st.booleans())
    def open(self, wait_for_gaps: bool) -> None:
        examples["gathered acks: state machine"] += 1
        self.wait_for_gaps = wait_for_gaps
        self.acks = GatheredAcks(wait_for_gaps=wait_for_gaps)
        self.ledgers: list[Ledger] = []
        self.another_channel()

    @rule()
    def another_channel(self) -> None:
        async def make() -> FakeChannel:
            return FakeChannel()

        self.ledgers.append(Ledger(self.loop.run_until_complete(make())))

    @rule(count=st.integers(1, 30), data=st.data())
    def hand_out(self, count: int, data: st.DataObject) -> None:
        self._any(data).hand_out(count)

    @precondition(lambda self: any(len(ledger.done) < ledger.handed for ledger in self.ledgers))
    @rule(data=st.data(), word=st.sampled_from(Word), at_once=st.integers(1, 20))
    def some_are_done_with(self, data: st.DataObject, word: Word, at_once: int) -> None:
        ledger = data.draw(st.sampled_from([one for one in self.ledgers if len(one.done) < one.handed]))
        in_hand = [tag for tag in range(1, ledger.handed + 1) if tag not in ledger.done]
        chosen = data.draw(st.lists(st.sampled_from(in_hand), min_size=1, max_size=at_once, unique=True))

        async def settle() -> None:
            for tag in chosen:
                ledger.done[tag] = word
                message = cast("DeliveredMessage", Message(ledger.channel, tag))
                ledger.tasks[tag] = asyncio.create_task(self.acks.settle(message, word))

        self._run(settle)

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self._run(lambda: asyncio.sleep(seconds))

    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 3.0]))
    def a_socket_is_slow(self, data: st.DataObject, seconds: float) -> None:
        ledger = self._any(data)
        if not ledger.is_stuck:
            ledger.channel.drain = lambda: asyncio.sleep(seconds)

    @rule(data=st.data())
    def a_socket_takes_nothing_more(self, data: st.DataObject) -> None:
        """As a queue of frames that is full, which nobody writes out any more; its channel dies in the end."""
        ledger = self._any(data)
        ledger.channel.drain = lambda: asyncio.sleep(1e9)
        ledger.is_stuck = True

    @rule(data=st.data())
    def a_channel_dies(self, data: st.DataObject) -> None:
        ledger = self._any(data)

        self._run(partial(_die, ledger.channel))

    @rule(data=st.data(), error=st.sampled_from([ConnectionResetError("gone"), RuntimeError("closed")]))
    def a_channel_dies_while_it_is_told(self, data: st.DataObject, error: Exception) -> None:
        ledger = self._any(data)

        async def die() -> None:
            await asyncio.sleep(0)
            ledger.channel.die()
            raise error

        ledger.channel.drain = die

    @invariant()
    def nobody_is_told_before_the_broker_is(self) -> None:
        for ledger in getattr(self, "ledgers", []):
            for tag, task in ledger.tasks.items():
                if task.done():
                    assert task.exception() is None
                    assert tag in ledger.settled or ledger.channel.is_closed

    def teardown(self) -> None:
        try:
            self._run(lambda: asyncio.sleep(600))
            for ledger in getattr(self, "ledgers", []):
                if ledger.is_stuck:
                    self._run(partial(_die, ledger.channel))
            self._run(lambda: asyncio.sleep(1))
            for ledger in getattr(self, "ledgers", []):
                self._all_that_can_be_is_settled(ledger)
        finally:
            for ledger in getattr(self, "ledgers", []):
                for task in ledger.tasks.values():
                    task.cancel()
            self._run(lambda: asyncio.sleep(0))
            self.loop.close()

    def _all_that_can_be_is_settled(self, ledger: Ledger) -> None:
        if ledger.channel.is_closed:
            assert all(task.done() for task in ledger.tasks.values()), "somebody waits for a channel that is gone"
            return
        without_a_gap = next(tag for tag in range(1, ledger.handed + 2) if tag not in ledger.done)
        expected = {tag: word for tag, word in ledger.done.items() if tag < without_a_gap or not self.wait_for_gaps}
        assert ledger.settled == expected
        assert all(ledger.tasks[tag].done() for tag in ledger.settled)

    def _any(self, data: st.DataObject) -> Ledger:
        return data.draw(st.sampled_from(self.ledgers))

    def _run(self, make: Callable[[], Awaitable[Any]]) -> None:
        async def main() -> None:
            await make()

        self.loop.run_until_complete(main())


GatheredAcksLife.TestCase.settings = deep_steps
TestGatheredAcksLife = GatheredAcksLife.TestCase
