"""The subscriber: keeps one consumer on one queue, through everything that happens to a connection."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from aio_pika.abc import AbstractConnection
from aiormq.abc import DeliveredMessage

from infra.rabbitmq.bindings import Bindings
from infra.rabbitmq.connection import broker_errors, close_quietly, connect
from infra.rabbitmq.consumer import Consumer
from infra.rabbitmq.hearing import Hearing
from infra.rabbitmq.lenient import is_decode_error
from infra.rabbitmq.paced import BytesInHand
from infra.rabbitmq.reading import read_delivery
from infra.rabbitmq.topology import Topology
from worker.domain.delivery import Delivery
from worker.domain.errors import BrokerUnavailableError, LogisticsError
from worker.domain.log import StructuredLogger
from worker.domain.outcome import Outcome
from worker.domain.tracing import NO_TRACING, ITracing

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_TICK = 2.0
_LONG_SESSION = 25.0
_LOOK_EVERY = 10.0
_CANCEL_TIMEOUT = 2.0

_log = StructuredLogger("logistics.subscriber")


class ISettlement(Protocol):
    """Whoever performs outcomes."""

    async def settle(self, message: DeliveredMessage, outcome: Outcome) -> None:
        """Perform the outcome of one delivery."""
        ...

    async def give_back(self, message: DeliveredMessage) -> None:
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
        on_settled: Callable[[Delivery, Outcome, float, float], None] = lambda *_: None,
        tracing: ITracing = NO_TRACING,
    ) -> None:
        """`on_settled`: told the seconds from taking a delivery to its outcome, and to its settlement."""
        self.queue = queue
        self._url = url
        self._name = name
        self._topology = topology
        self._handle = handle
        self._settlement = settlement
        self._wanted = 0
        self._on_settled = on_settled
        self._tracing = tracing
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand = BytesInHand()
        self._wake = asyncio.Event()
        self._stopping = False
        self._consumer: Consumer | None = None
        self._lenient = False
        self._has_declared = False
        self._hearing = Hearing()

    @property
    def in_flight(self) -> int:
        """Deliveries that are not settled yet."""
        return len(self._tasks)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._consumer is not None

    @property
    def why_deaf(self) -> str | None:
        """Why it has heard nothing for a while, in words; None when all is well."""
        return self._hearing.why_deaf

    def set_intake_limit(self, limit: int) -> None:
        """Take at most so many deliveries at once from now on; 0 pauses. After `stop` it stays 0."""
        if limit != self._wanted and not self._stopping:
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
                self._hearing.has_failed(error)
            except LogisticsError as error:
                if not self._has_declared:
                    raise
                _log.error("broker.differs", queue=self.queue, error=str(error), next_try_in=pause)
                self._hearing.has_failed(error)
            self._wake.clear()
            if self._is_over():
                return
            await self._sleep(pause)
            lasted = time.monotonic() - started > _LONG_SESSION
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
                consumer = Consumer(
                    connection, queue=self.queue, on_delivery=self._on_delivery, on_change=self._on_change
                )
                await consumer.open()
                self._consumer = consumer
                _log.info("broker.connected", queue=self.queue)
                await self._keep_consuming(connection, consumer)
                await consumer.close()
        finally:
            self._consumer = None
            await close_quietly(connection)

    async def _keep_consuming(self, connection: AbstractConnection, consumer: Consumer) -> None:
        """Keep the consumer as it is wanted; return when we stop. Raises BrokerUnavailableError."""
        bindings = Bindings(connection, self._topology, queue=self.queue)
        next_look = time.monotonic() + _LOOK_EVERY
        while not consumer.is_closed:
            self._wake.clear()
            if self._stopping and not self._tasks and not consumer.is_on_queue:
                return
            if self._in_hand.is_full:  # asked anything now, the broker would seem not to answer
                await self._sleep(_TICK)
                continue
            if consumer.prefetch != self._wanted:
                await consumer.set_prefetch(self._wanted)
                continue  # a stop that waited for this goes on at once, not a tick later
            if self._wanted and not consumer.is_on_queue:
                raise BrokerUnavailableError("the broker cancelled the consumer")
            self._hearing.is_sound()
            if time.monotonic() >= next_look:
                await bindings.restore()
                await consumer.renew(is_idle=lambda: not self._tasks)
                next_look = time.monotonic() + _LOOK_EVERY
                continue
            await self._sleep(_TICK)
        raise BrokerUnavailableError("the channel was closed")

    def _is_busy(self, *, since: float) -> bool:
        """Whether there is something to wait for: deliveries, or for a moment the end of the consumer."""
        consuming = self._consumer is not None and self._consumer.prefetch > 0
        return bool(self._tasks) or (consuming and time.monotonic() - since < _CANCEL_TIMEOUT)

    def _is_over(self) -> bool:
        return self._stopping

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _on_change(self, error: BaseException | None) -> None:
        if is_decode_error(error) and not self._lenient:
            _log.error("message.undecodable", queue=self.queue, error=str(error))
            self._lenient = True  # from the next connection on, and for good: where one is, more may be
        self._wake.set()

    def _on_delivery(self, message: DeliveredMessage) -> None:
        # A closing channel cancels the library's callback, so the work happens in a task of our own.
        task = asyncio.create_task(self._work(message))
        self._tasks.add(task)
        size = len(message.body)
        self._in_hand.take(size)
        task.add_done_callback(partial(self._forget, size=size))

    def _forget(self, task: asyncio.Task[None], *, size: int) -> None:
        self._tasks.discard(task)
        self._in_hand.let_go(size)
        if self._stopping:
            self._wake.set()

    async def _work(self, message: DeliveredMessage) -> None:
        started = time.monotonic()
        try:
            delivery = read_delivery(message)
            with self._tracing.process(self.queue, delivery, tag=message.delivery_tag) as span:
                outcome = await self._handle(delivery)
                span.came_to(outcome)
                handled = time.monotonic()
                await self._settlement.settle(message, outcome)
            self._on_settled(delivery, outcome, handled - started, time.monotonic() - started)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not keep the delivery for ever
            _log.error(
                "delivery.crashed", queue=self.queue, message_id=message.header.properties.message_id, exc_info=error
            )
            await self._settlement.give_back(message)
