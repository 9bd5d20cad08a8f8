"""Gathered acks: deliveries that are done with are acknowledged many at a time.

An ack a message costs a frame each, here and at the broker. `multiple` acknowledges everything up to a delivery, so
only a run without a gap, from the oldest unsettled one on, may go that way. What is done with beyond a gap waits until
it closes, or goes by itself. One task a channel sends them all, one after the other: acks of several tasks overtake
each other on their way out, and one that was overtaken closes the channel.
"""

import asyncio
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from weakref import WeakKeyDictionary

from aiormq.abc import AbstractChannel, DeliveredMessage

from infra.rabbitmq.connection import broker_errors
from worker.domain.errors import BrokerUnavailableError
from worker.domain.log import StructuredLogger

_log = StructuredLogger("logistics.settlement")


class Word(Enum):
    """What the broker is told of a delivery."""

    ACK = auto()
    NACK = auto()
    """Back to its queue; since RabbitMQ 4.3 that does not count towards the queue's delivery limit."""
    RETURN = auto()
    """Back to its queue by a reject, which counts everywhere."""
    REJECT = auto()
    """Off to the queue's dead-letter exchange."""


class GatheredAcks:
    """Settles the deliveries of queues that are consumed through it, every one of them."""

    def __init__(self, *, wait_for_gaps: bool) -> None:
        """`wait_for_gaps`: what is done with beyond a gap waits until it closes.

        For deliveries that take about the same time. Of others a slow one would keep the places of all behind it, and
        one that is never settled would keep them until the channel ends. But single acks in great numbers are at risk:
        RabbitMQ keeps those of a quorum queue waiting from the 32nd on, and when the channel is closed it forgets them.
        """
        self._wait_for_gaps = wait_for_gaps
        self._channels: WeakKeyDictionary[AbstractChannel, _ChannelAcks] = WeakKeyDictionary()

    async def settle(self, message: DeliveredMessage, word: Word) -> None:
        """Tell the broker about the delivery; return when that is on its way.

        Too late for that (the channel is gone) means a redelivery, which changes nothing.
        """
        channel, tag = message.channel, message.delivery_tag
        if tag is not None and not channel.is_closed:
            await self._acks_of(channel).settle(channel, tag, word)

    def _acks_of(self, channel: AbstractChannel) -> "_ChannelAcks":
        acks = self._channels.get(channel)
        if acks is None:
            acks = self._channels[channel] = _ChannelAcks(wait_for_gaps=self._wait_for_gaps)
            channel.closing.add_done_callback(acks.forget)  # else whoever waits would wait for ever
        return acks


class _ChannelAcks:
    """What is done with on one channel, and not told the broker yet."""

    def __init__(self, *, wait_for_gaps: bool) -> None:
        self._wait_for_gaps = wait_for_gaps
        self._last = 0
        """The last delivery the broker was told of; a channel counts them from 1."""
        self._gaps: set[int] = set()
        """Those before it that it was not told of; they are in hand, so there are no more than the prefetch."""
        self._done: dict[int, _Settled] = {}
        self._sending: asyncio.Task[None] | None = None

    async def settle(self, channel: AbstractChannel, tag: int, word: Word) -> None:
        if tag <= self._last and tag not in self._gaps:
            return  # told before: a second word on it would close the channel
        settled = self._done[tag] = _Settled(word)
        if self._sending is None and (tag == self._last + 1 or not self._wait_for_gaps):
            self._sending = asyncio.create_task(self._send(channel))
        await settled.told

    def forget(self, *_: object) -> None:
        """Let everybody go: the channel is gone, and with it what they wait for."""
        if self._sending is not None and self._sending is not asyncio.current_task():
            self._sending.cancel()  # it may wait for room in what nobody writes out any more; it lets its batch go
        _release(self._done.values())

    async def _send(self, channel: AbstractChannel) -> None:
        try:
            with broker_errors():
                while done := self._take():
                    try:
                        await self._tell(channel, done)
                    finally:
                        _release(done.values())
        except BrokerUnavailableError as error:
            _log.debug("settlement.late", error=str(error))
            self.forget()
        finally:
            self._sending = None

    def _take(self) -> dict[int, "_Settled"]:
        """Take what the broker may be told now."""
        if not self._wait_for_gaps:
            done, self._done = self._done, {}
            return done
        run: dict[int, _Settled] = {}
        following = self._last + 1
        while following in self._done:
            run[following] = self._done.pop(following)
            following += 1
        return run

    async def _tell(self, channel: AbstractChannel, done: Mapping[int, "_Settled"]) -> None:
        """Settle these; only the last ack is waited for, as they leave in the order they are put."""
        for tag, settled in done.items():
            if settled.word is not Word.ACK:
                await _tell_one(channel, tag, settled.word)
        finished = self._advance(done)
        alone = [tag for tag in sorted(done) if tag > finished and done[tag].word is Word.ACK]
        if finished:
            await channel.basic_ack(finished, multiple=True, wait=not alone)
        for tag in alone:
            await channel.basic_ack(tag, wait=tag == alone[-1])

    def _advance(self, done: Mapping[int, "_Settled"]) -> int:
        """Note these as told; return the last of them that is acknowledged with no gap before it, 0 when none is."""
        for tag in done:
            self._gaps.discard(tag)
            if tag > self._last:
                self._gaps.update(range(self._last + 1, tag))
                self._last = tag
        oldest = min(self._gaps, default=self._last + 1)
        return max((tag for tag, settled in done.items() if tag < oldest and settled.word is Word.ACK), default=0)


class _Settled:
    """A delivery that is done with."""

    def __init__(self, word: Word) -> None:
        self.word = word
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()


def _release(deliveries: Iterable[_Settled]) -> None:
    for delivery in deliveries:
        if not delivery.told.done():
            delivery.told.set_result(None)


async def _tell_one(channel: AbstractChannel, tag: int, word: Word) -> None:
    if word is Word.NACK:
        await channel.basic_nack(tag, requeue=True)
    else:
        await channel.basic_reject(tag, requeue=word is Word.RETURN)
