"""Fuzzing gathered acks: done with in any order, every delivery is settled once, and none that is still in hand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelInvalidStateError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from infra.rabbitmq.gathered_acks import GatheredAcks
from tests.support.fake_broker import FakeChannel, Settled
from tests.support.fuzz_settings import deep_steps, examples
from tests.support.skipping_time import SkippingLoop


class Message:
    """What the settlement asks of a delivery."""

    def __init__(self, channel: FakeChannel, tag: int) -> None:
        self._channel = channel
        self.delivery_tag = tag

    @property
    def channel(self) -> FakeChannel:
        if self._channel.is_closed:
            raise ChannelInvalidStateError
        return self._channel


class Ledger:
    """One channel as the broker sees it."""

    def __init__(self, channel: FakeChannel) -> None:
        self.channel = channel
        self.handed = 0
        self.done: dict[int, bool] = {}
        """What is done with: whether it is given back."""
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.settled: dict[int, bool] = {}
        channel.on_told = self.take

    def take(self, told: Settled) -> None:
        """Settle what the broker is told, as it would: an unknown tag closes the channel."""
        open_ones = [tag for tag in range(1, self.handed + 1) if tag not in self.settled]
        assert told.tag in open_ones, f"{told.tag} is not in hand: the broker closes the channel"
        concerned = [tag for tag in open_ones if tag <= told.tag] if told.multiple else [told.tag]
        for tag in concerned:
            assert self.done.get(tag) is told.requeue, f"{tag} is still in hand, or is to be settled otherwise"
            self.settled[tag] = told.requeue


class GatheredAcksLife(RuleBasedStateMachine):
    """Deliveries of several channels, done with in any order, on sockets that are slow or die."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SkippingLoop()

    @initialize()
    def open(self) -> None:
        examples["gathered acks: state machine"] += 1
        self.acks = GatheredAcks()
        self.ledgers: list[Ledger] = []
        self.another_channel()

    @rule()
    def another_channel(self) -> None:
        async def make() -> FakeChannel:
            return FakeChannel()

        self.ledgers.append(Ledger(self.loop.run_until_complete(make())))

    @rule(count=st.integers(1, 30), data=st.data())
    def hand_out(self, count: int, data: st.DataObject) -> None:
        self._any(data).handed += count

    @precondition(lambda self: any(len(ledger.done) < ledger.handed for ledger in self.ledgers))
    @rule(data=st.data(), back=st.booleans(), at_once=st.integers(1, 20))
    def some_are_done_with(self, data: st.DataObject, back: bool, at_once: int) -> None:
        ledger = data.draw(st.sampled_from([one for one in self.ledgers if len(one.done) < one.handed]))
        in_hand = [tag for tag in range(1, ledger.handed + 1) if tag not in ledger.done]
        chosen = data.draw(st.lists(st.sampled_from(in_hand), min_size=1, max_size=at_once, unique=True))

        async def settle() -> None:
            for tag in chosen:
                ledger.done[tag] = back
                message = cast("AbstractIncomingMessage", Message(ledger.channel, tag))
                ledger.tasks[tag] = asyncio.create_task(self.acks.settle(message, requeue=back))

        self._run(settle)

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self._run(lambda: asyncio.sleep(seconds))

    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 3.0]))
    def a_socket_is_slow(self, data: st.DataObject, seconds: float) -> None:
        self._any(data).channel.drain = lambda: asyncio.sleep(seconds)

    @rule(data=st.data())
    def a_channel_dies(self, data: st.DataObject) -> None:
        ledger = self._any(data)

        async def die() -> None:
            ledger.channel.die()

        self._run(die)

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
        assert ledger.settled == {tag: ledger.done[tag] for tag in range(1, without_a_gap)}
        assert all(ledger.tasks[tag].done() for tag in ledger.settled)

    def _any(self, data: st.DataObject) -> Ledger:
        return data.draw(st.sampled_from(self.ledgers))

    def _run(self, make: Callable[[], Awaitable[Any]]) -> None:
        async def main() -> None:
            await make()

        self.loop.run_until_complete(main())


GatheredAcksLife.TestCase.settings = deep_steps
TestGatheredAcksLife = GatheredAcksLife.TestCase
