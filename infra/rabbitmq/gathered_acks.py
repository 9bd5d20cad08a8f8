"""Gathered acks: deliveries that are done with are acknowledged many at a time, in the order they were handed out.

An ack a message costs a system call each. `multiple` acknowledges everything up to a delivery, so only a run without
a gap, from the oldest unsettled one on, may go that way. One task a channel sends them all, one after the other: acks
of several tasks overtake each other on their way out, and one that was overtaken closes the channel.
"""

import asyncio
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq.abc import AbstractChannel

from infra.rabbitmq.connection import broker_errors
from worker.domain.errors import BrokerUnavailableError
from worker.domain.log import StructuredLogger

_log = StructuredLogger("logistics.settlement")


class GatheredAcks:
    """Settles the deliveries of queues that are consumed through it, every one of them.

    A delivery that is never reported stays unsettled, and everything behind it with it: until its channel closes.
    """

    def __init__(self) -> None:
        self._channels: WeakKeyDictionary[AbstractChannel, _ChannelAcks] = WeakKeyDictionary()

    async def settle(self, message: AbstractIncomingMessage, *, requeue: bool) -> None:
        """Acknowledge the delivery, or give it back; return when that is on its way.

        Too late for that (the channel is gone) means a redelivery, which changes nothing.
        """
        try:
            channel = message.channel
        except ChannelInvalidStateError:
            return
        if message.delivery_tag is not None and not channel.is_closed:
            await self._acks_of(channel).settle(channel, message.delivery_tag, requeue)

    def _acks_of(self, channel: AbstractChannel) -> "_ChannelAcks":
        acks = self._channels.get(channel)
        if acks is None:
            acks = self._channels[channel] = _ChannelAcks()
            channel.closing.add_done_callback(acks.forget)  # else whoever waits behind a gap would wait for ever
        return acks


class _ChannelAcks:
    """What is done with on one channel, and not told the broker yet."""

    def __init__(self) -> None:
        self._next = 1
        """The oldest delivery that is not settled; a channel counts them from 1."""
        self._done: dict[int, _Settled] = {}
        self._sending: asyncio.Task[None] | None = None

    async def settle(self, channel: AbstractChannel, tag: int, requeue: bool) -> None:  # noqa: FBT001 - AMQP's own flag
        settled = self._done[tag] = _Settled(requeue)
        if self._sending is None and tag == self._next:
            self._sending = asyncio.create_task(self._send(channel))
        await settled.told

    def forget(self, *_: object) -> None:
        """Let everybody go: the channel is gone, and with it what they wait for."""
        _release(self._done.values())

    async def _send(self, channel: AbstractChannel) -> None:
        try:
            with broker_errors():
                while self._next in self._done:
                    await self._send_run(channel)
        except BrokerUnavailableError as error:
            _log.debug("settlement.late", error=str(error))
            self.forget()
        finally:
            self._sending = None

    async def _send_run(self, channel: AbstractChannel) -> None:
        """Settle from the oldest one on: a run of acks in one, or a single one that is given back."""
        first = self._done.pop(self._next)
        run, last = [first], self._next
        while not first.requeue and last + 1 in self._done and not self._done[last + 1].requeue:
            last += 1
            run.append(self._done.pop(last))
        try:
            if first.requeue:
                await channel.basic_nack(last, requeue=True)
            else:
                await channel.basic_ack(last, multiple=True)
            self._next = last + 1
        finally:
            _release(run)


class _Settled:
    """A delivery that is done with."""

    def __init__(self, requeue: bool) -> None:  # noqa: FBT001 - AMQP's own flag
        self.requeue = requeue
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()


def _release(deliveries: Iterable[_Settled]) -> None:
    for delivery in deliveries:
        if not delivery.told.done():
            delivery.told.set_result(None)
