"""The subscriber: keeps one consumer on one queue, through everything that happens to a connection."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from functools import partial
from typing import Protocol

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.abc import DeliveredMessage

from infra.rabbitmq.connection import CONNECT_TIMEOUT, broker_errors, close_quietly, connect
from infra.rabbitmq.lenient import is_decode_error, readable_message
from infra.rabbitmq.paced import BytesInHand
from infra.rabbitmq.topology import Topology
from worker.domain.delivery import Delivery
from worker.domain.errors import BrokerRefusedError, BrokerUnavailableError, LogisticsError
from worker.domain.log import StructuredLogger
from worker.domain.outcome import Outcome

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_TICK = 2.0
_DEAF_AFTER = 25.0
_REFUSED_FOR = 10.0
_LOOK_EVERY = 10.0
_CANCEL_TIMEOUT = 2.0

_log = StructuredLogger("logistics.subscriber")


class ISettlement(Protocol):
    """Whoever performs outcomes."""

    async def settle(self, message: AbstractIncomingMessage, outcome: Outcome) -> None:
        """Perform the outcome of one delivery."""
        ...

    async def give_back(self, message: AbstractIncomingMessage) -> None:
        """Return a delivery to its queue: handling it broke."""
        ...


class Subscriber:
    """Hands each delivery of a queue to `handle`, in a task of its own, and its outcome to the settlement.

    How many deliveries may be unsettled at once is the intake limit; 0, as at first, pauses. Changing it takes the
    consumer off the queue and puts it back: a quorum queue fixes the prefetch when a consumer starts.
    """

    def __init__(
        self,
        url: str,
        *,
        queue: str,
        name: str,
        topology: Topology,
        handle: Callable[[Delivery], Awaitable[Outcome]],
        settlement: ISettlement,
        on_settled: Callable[[Delivery, Outcome, float], None] = lambda *_: None,
    ) -> None:
        self.queue = queue
        self._url = url
        self._name = name
        self._topology = topology
        self._handle = handle
        self._settlement = settlement
        self._wanted = 0
        self._on_settled = on_settled
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand = BytesInHand()
        self._wake = asyncio.Event()
        self._stopping = False
        self._consumer_tag: str | None = None
        self._consuming_with = 0
        self._channel: AbstractChannel | None = None
        self._connected = False
        self._lenient = False
        self._has_declared = False
        self._last_delivery = time.monotonic()
        self._is_sound()

    @property
    def in_flight(self) -> int:
        """Deliveries that are not settled yet."""
        return len(self._tasks)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._connected

    @property
    def why_deaf(self) -> str | None:
        """Why it has had no consumer for a while; None while it consumes, is paused, or waits for a broker to come.

        A broker that is away is there again by itself. One that refuses us, or whose queues differ, stays like that
        until somebody acts: then it is for whoever watches over this process to know.
        """
        patience = _REFUSED_FOR if self._trouble else _DEAF_AFTER
        if time.monotonic() - self._last_sound < patience:
            return None
        return f"no consumer: {self._trouble or 'nothing moves'}"

    def set_intake_limit(self, limit: int) -> None:
        """Take at most so many deliveries at once from now on; 0 pauses."""
        if limit != self._wanted:
            self._wanted = limit
            self._wake.set()

    async def run(self) -> None:
        """Consume until `stop`. Raises TopologyMismatchError when the broker's queues differ at the first look."""
        pause = _FIRST_PAUSE
        while not self._is_over():
            started = time.monotonic()
            try:
                await self._session()
            except BrokerUnavailableError as error:
                _log.warning("broker.unreachable", queue=self.queue, error=str(error), next_try_in=pause)
                self._note(error)
            except LogisticsError as error:
                if not self._has_declared:
                    raise
                _log.error("broker.differs", queue=self.queue, error=str(error), next_try_in=pause)
                self._note(error)
            self._wake.clear()
            if self._is_over():
                return
            await self._sleep(pause)
            lasted = time.monotonic() - started > _DEAF_AFTER
            pause = _FIRST_PAUSE if lasted else min(pause * 2, _LONGEST_PAUSE)

    async def stop(self, *, deadline: float) -> bool:
        """Stop taking, let what is in flight finish for `deadline` seconds, give the rest back.

        Returns whether everything was finished. `run` returns afterwards.
        """
        self._stopping = True
        self._wanted = 0
        self._wake.set()
        end = time.monotonic() + deadline
        while (left := end - time.monotonic()) > 0 and self._is_busy(since=end - deadline):
            await asyncio.wait(set(self._tasks) or {asyncio.create_task(asyncio.sleep(0.02))}, timeout=min(left, 0.5))
        pending = set(self._tasks)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=1.0)
        self._wake.set()
        return not pending

    async def _session(self) -> None:
        """One connection's life: until it is lost, the broker cancels the consumer, or we stop."""
        connection = await connect(self._url, name=self._name, lenient=self._lenient, in_hand=self._in_hand)
        try:
            await self._topology.declare(connection)
            self._has_declared = True
            with broker_errors():
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    channel = await self._open(connection)
                self._connected = True
                _log.info("broker.connected", queue=self.queue)
                await self._reconcile(connection, channel)
                await self._say_goodbye()
        finally:
            self._connected, self._consumer_tag, self._consuming_with = False, None, 0
            await close_quietly(connection)

    async def _say_goodbye(self) -> None:
        """Close the channel, which comes after the acks; the end of a connection overtakes those not written yet."""
        if self._channel is not None:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._channel.close()

    async def _open(self, connection: AbstractConnection) -> UnderlayChannel:
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(self._on_channel_closed)
        self._channel = channel
        # The library's own channel below: its consume hands over every delivery, the one above drops odd ones.
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._on_consumer_cancelled)
        return underlay

    async def _reconcile(self, connection: AbstractConnection, channel: UnderlayChannel) -> None:
        """Keep the consumer as it is wanted; return when the session is over."""
        next_look = time.monotonic() + _LOOK_EVERY
        while not self._channel_is_closed():
            self._wake.clear()
            if self._stopping and not self._tasks and self._consumer_tag is None:
                return
            if self._consuming_with != self._wanted:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await self._apply(channel)
                continue  # a stop that waited for this goes on at once, not a tick later
            if self._wanted and self._consumer_tag is None:
                raise BrokerUnavailableError("the broker cancelled the consumer")
            self._is_sound()
            if time.monotonic() >= next_look:
                await self._restore_bindings(connection)
                channel = await self._renewed(connection, channel)
                next_look = time.monotonic() + _LOOK_EVERY
                continue
            await self._sleep(_TICK)
        raise BrokerUnavailableError("the channel was closed")

    async def _restore_bindings(self, connection: AbstractConnection) -> None:
        """See to it that what is published reaches the queue; without its binding a sound consumer hears nothing."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._topology.declare(connection, queue=self.queue)
        except (BrokerUnavailableError, TimeoutError) as error:
            _log.debug("topology.not_restored", queue=self.queue, error=str(error))  # a lost connection shows by itself

    async def _renewed(self, connection: AbstractConnection, channel: UnderlayChannel) -> UnderlayChannel:
        """Return the channel to go on with: a new one, with a new consumer, when nothing has come for a while.

        When a queue is deleted and another program makes it again at once, RabbitMQ 3.10 moves the consumer over
        without a word, and what it hands out then never leaves the broker's channel (measured). From here that looks
        like an empty queue. So does whatever else may go wrong with a consumer at the broker.
        """
        if self._consumer_tag is None or self._tasks or time.monotonic() - self._last_delivery < _LOOK_EVERY:
            return channel
        async with asyncio.timeout(CONNECT_TIMEOUT):
            tag, self._consumer_tag, self._consuming_with = self._consumer_tag, None, 0
            await channel.basic_cancel(tag)
            if self._tasks or self._channel is None:
                return channel  # something came at the last moment: it must be settled on its own channel
            await self._channel.close()
            return await self._open(connection)

    async def _apply(self, channel: UnderlayChannel) -> None:
        if self._consumer_tag is not None:
            tag, self._consumer_tag = self._consumer_tag, None
            await channel.basic_cancel(tag)
        limit, self._consuming_with = self._wanted, 0
        if limit:
            await channel.basic_qos(prefetch_count=limit)
            self._consumer_tag = (await channel.basic_consume(self.queue, self._on_message)).consumer_tag
        self._consuming_with = limit

    def _is_busy(self, *, since: float) -> bool:
        """Whether there is something to wait for: deliveries, or for a moment the end of the consumer."""
        return bool(self._tasks) or (self._consuming_with > 0 and time.monotonic() - since < _CANCEL_TIMEOUT)

    def _note(self, error: LogisticsError) -> None:
        """Remember what is wrong; a broker that is merely away is no reason to be restarted."""
        if isinstance(error, BrokerUnavailableError) and not isinstance(error, BrokerRefusedError):
            self._is_sound()
        else:
            self._trouble = str(error)

    def _is_sound(self) -> None:
        self._last_sound, self._trouble = time.monotonic(), ""

    def _is_over(self) -> bool:
        return self._stopping

    def _channel_is_closed(self) -> bool:
        return self._channel is None or self._channel.is_closed

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _on_channel_closed(self, _: object, error: BaseException | None = None) -> None:
        if is_decode_error(error) and not self._lenient:
            _log.error("message.undecodable", queue=self.queue, error=str(error))
            self._lenient = True  # from the next connection on, and for good: where one is, more may be
        self._wake.set()

    def _on_consumer_cancelled(self, *_: object) -> None:
        self._consumer_tag = None
        self._wake.set()

    async def _on_message(self, raw: DeliveredMessage) -> None:
        # A closing channel cancels this callback, so the work happens in a task of our own.
        self._last_delivery = time.monotonic()
        task = asyncio.create_task(self._work(readable_message(raw)))
        self._tasks.add(task)
        self._in_hand.take(len(raw.body))
        task.add_done_callback(partial(self._forget, size=len(raw.body)))

    def _forget(self, task: asyncio.Task[None], *, size: int) -> None:
        self._tasks.discard(task)
        self._in_hand.let_go(size)
        if self._stopping:
            self._wake.set()

    async def _work(self, message: AbstractIncomingMessage) -> None:
        started = time.monotonic()
        try:
            delivery = _delivery(message)
            outcome = await self._handle(delivery)
            await self._settlement.settle(message, outcome)
            self._on_settled(delivery, outcome, time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not keep the delivery for ever
            _log.error("delivery.crashed", queue=self.queue, message_id=message.message_id, exc_info=error)
            await self._settlement.give_back(message)


def _delivery(message: AbstractIncomingMessage) -> Delivery:
    published_at = message.timestamp
    return Delivery(
        body=message.body,
        headers=message.headers,
        message_id=message.message_id,
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        redelivered=bool(message.redelivered),
        published_at=published_at.astimezone(UTC) if published_at is not None else None,
    )
