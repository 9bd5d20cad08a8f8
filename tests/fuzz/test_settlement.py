"""Fuzzing the settlement: whatever publisher and channel do, an ack never comes before its confirm, and comes once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from aio_pika.exceptions import (
    AMQPConnectionError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
)
from aio_pika.exceptions import PublishError as ReturnedError
from aiormq.abc import DeliveredMessage
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pamqp import commands, header

from infra.rabbitmq.settlement import Settlement
from tests.support.fake_broker import FakeChannel, FakeExchanges, Published, Settled, received
from tests.support.fuzz_settings import deep_steps, examples
from tests.support.raw_headers import SEEDS, content_header
from tests.support.skipping_time import SkippingLoop
from worker.domain.errors import TopologyMismatchError
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry

ERROR = ValueError("no")
_NACK = commands.Basic.Nack(1)
_RETURN = commands.Basic.Return(312, "NO_ROUTE", "orders.retry", "5s")
_RETURNED = DeliveredMessage(delivery=_RETURN, header=header.ContentHeader(), body=b"", channel=cast("Any", None))
WAYS = [
    *("confirmed", "slow", "refused", "returned", "no exchange", "too large"),
    *("lost before", "lost after", "silent", "cancelled"),
]
"""What may become of a publish; `lost after`: the broker has it, but its word is lost."""


@dataclass
class Delivery:
    """One delivery in hand."""

    tag: int
    channel: FakeChannel
    outcome: Outcome
    task: asyncio.Task[None]
    given_back: bool = False


@dataclass
class Broker:
    """Decides what becomes of publishes, and keeps what it confirmed."""

    ways: list[str] = field(default_factory=list)
    has: Counter[bytes] = field(default_factory=Counter)
    confirmed: set[bytes] = field(default_factory=set)
    too_large: set[bytes] = field(default_factory=set)

    async def on_publish(self, published: Published) -> None:
        body = published.message.body
        way = self.ways.pop(0) if self.ways else "confirmed"
        match way:
            case "slow":
                await asyncio.sleep(25)
            case "refused":
                raise DeliveryError(None, _NACK)
            case "returned":
                raise ReturnedError(_RETURNED, _RETURN)
            case "no exchange":
                raise ChannelNotFoundEntity(f"NOT_FOUND - no exchange '{published.exchange}' in vhost '/'")
            case "too large":
                self.too_large.add(body)
                raise ChannelPreconditionFailed("message size 1 is larger than configured max size 0")
            case "lost before":
                raise AMQPConnectionError("gone")
            case "silent":
                await asyncio.sleep(3600)
            case "cancelled":
                raise asyncio.CancelledError
            case _:
                pass
        self.has[body] += 1
        if way == "lost after":
            raise ConnectionResetError("gone")
        self.confirmed.add(body)


class SettlementLife(RuleBasedStateMachine):
    """A consumer's deliveries, a publisher with moods, a channel that dies."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SkippingLoop()

    @initialize()
    def open(self) -> None:
        examples["settlement: state machine"] += 1
        self.broker = Broker()
        self.deliveries: list[Delivery] = []
        self.early_acks: list[Settled] = []
        self.restored = 0
        self.restore_fails = False
        exchanges = FakeExchanges(on_publish=self.broker.on_publish)
        self.settlement = Settlement(
            exchanges.publisher(), retry_exchange="orders.retry", restore_topology=self._restore
        )
        self._open_channel()

    @rule(kind=st.sampled_from(["ack", "retry", "defer", "dead letter", "crash"]))
    def deliver(self, kind: str) -> None:
        async def begin() -> None:
            self.tag += 1
            tag, channel = self.tag, self.channel
            body = b"%d" % len(self.deliveries)
            message = await received(content_header(SEEDS[1], body_size=len(body)), body, channel, tag=tag)
            outcome = _outcome(kind)
            work = self.settlement.give_back(message) if kind == "crash" else self.settlement.settle(message, outcome)
            task = asyncio.create_task(work)
            self.deliveries.append(Delivery(tag, channel, outcome, task, given_back=kind == "crash"))

        self._run(begin)

    @rule(ways=st.lists(st.sampled_from(WAYS), max_size=6))
    def the_broker_has_moods(self, ways: list[str]) -> None:
        self.broker.ways += ways

    @rule(way=st.sampled_from(WAYS), times=st.integers(3, 12))
    def the_broker_is_in_one_mood_for_long(self, way: str, times: int) -> None:
        self.broker.ways += [way] * times

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.3, 1.0, 7.0, 40.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        self._run(lambda: asyncio.sleep(seconds))

    @rule()
    def the_channel_dies_and_another_is_opened(self) -> None:
        async def die() -> None:
            self.channel.die()

        self._run(die)
        self._open_channel()

    @rule(fails=st.booleans())
    def the_topology_cannot_be_restored_for_now(self, fails: bool) -> None:
        self.restore_fails = fails

    @rule(slow=st.booleans())
    def the_socket_is_slow(self, slow: bool) -> None:
        self.channel.drain = (lambda: asyncio.sleep(3)) if slow else (lambda: asyncio.sleep(0))

    @precondition(lambda self: any(not delivery.task.done() for delivery in self.deliveries))
    @rule(data=st.data())
    def the_worker_stops_waiting_for_one(self, data: st.DataObject) -> None:
        pending = [delivery for delivery in self.deliveries if not delivery.task.done()]
        chosen = data.draw(st.sampled_from(range(len(pending))))
        pending[chosen].task.cancel()
        pending[chosen].channel.die()  # as when the worker ends: its channels go with it
        self._run(lambda: asyncio.sleep(0))
        if self.channel.is_closed:
            self._open_channel()

    @invariant()
    def nothing_is_acknowledged_before_it_is_confirmed_and_nothing_twice(self) -> None:
        if not hasattr(self, "broker"):
            return
        assert self.early_acks == []
        for channel in {id(delivery.channel): delivery.channel for delivery in self.deliveries}.values():
            tags = [settled.tag for settled in channel.told]
            assert len(tags) == len(set(tags))

    def teardown(self) -> None:
        try:
            if hasattr(self, "broker"):
                self._everything_ends_once_the_broker_is_well()
        finally:
            for delivery in getattr(self, "deliveries", []):
                delivery.task.cancel()
            self._run(lambda: asyncio.sleep(0))
            self.loop.close()

    def _everything_ends_once_the_broker_is_well(self) -> None:
        self.broker.ways.clear()
        self.restore_fails = False
        self._run(lambda: asyncio.sleep(60))
        assert self.settlement.held == 0
        for number, delivery in enumerate(self.deliveries):
            assert delivery.task.done(), "it waits although the broker is well"
            error = None if delivery.task.cancelled() else delivery.task.exception()
            assert error is None, f"the settlement raised {error!r}"
            settled = [told for told in delivery.channel.told if told.tag == delivery.tag]
            if self._left_to_the_broker(number, settled):
                continue
            if not delivery.channel.is_closed:
                assert settled == [Settled(delivery.tag, requeue=delivery.given_back, rejected=delivery.given_back)]
            elif settled and not delivery.given_back and not isinstance(delivery.outcome, Ack):
                assert self.broker.has[b"%d" % number] >= 1, "it is in no queue any more"

    def _left_to_the_broker(self, number: int, settled: list[Settled]) -> bool:
        """Whether it was rejected: a dead letter that was too large to be published, and nothing else."""
        delivery = self.deliveries[number]
        if settled != [Settled(delivery.tag, rejected=True)]:
            return False
        assert isinstance(delivery.outcome, DeadLetter)
        assert not delivery.given_back
        assert b"%d" % number in self.broker.too_large
        return True

    def _open_channel(self) -> None:
        async def make() -> FakeChannel:
            return FakeChannel()

        self.channel = self.loop.run_until_complete(make())
        self.channel.on_told = self._on_told
        self.tag = 0

    def _on_told(self, settled: Settled) -> None:
        channel = self.channel
        for number, delivery in enumerate(self.deliveries):
            mine = delivery.channel is channel and delivery.tag == settled.tag
            goes_out = not isinstance(delivery.outcome, Ack) and not delivery.given_back and not settled.rejected
            if mine and goes_out and b"%d" % number not in self.broker.confirmed:
                self.early_acks.append(settled)

    async def _restore(self) -> None:
        self.restored += 1
        await asyncio.sleep(0.1)
        if self.restore_fails:
            raise TopologyMismatchError("the queue differs")

    def _run(self, make: Callable[[], Awaitable[Any]]) -> None:
        async def main() -> None:
            await make()

        self.loop.run_until_complete(main())


def _outcome(kind: str) -> Outcome:
    match kind:
        case "retry":
            return Retry("5s", ERROR, 0, headers={"trace_id": "t"})
        case "defer":
            return Defer("5s", None, 0, headers={"trace_id": "t"})
        case "dead letter":
            return DeadLetter(DeadLetterReason.MALFORMED, ERROR, headers={"trace_id": "t"})
    return Ack("shipped")


SettlementLife.TestCase.settings = deep_steps
TestSettlementLife = SettlementLife.TestCase
