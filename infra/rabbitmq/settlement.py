"""Settlement: performs an outcome. What goes out is confirmed first; only then is the delivery acknowledged."""

import asyncio
from collections.abc import Awaitable, Callable

from aiormq.abc import DeliveredMessage

from infra.rabbitmq.gathered_acks import GatheredAcks, Word
from infra.rabbitmq.publisher import ConfirmedPublisher
from infra.rabbitmq.topology import DEAD_LETTER_EXCHANGE
from worker.domain.errors import (
    LogisticsError,
    MessageTooLargeError,
    PublishError,
    UnroutableError,
)
from worker.domain.log import StructuredLogger
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry
from worker.domain.tracing import NO_TRACING, ITracing

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_REQUEUE_PAUSE = 1.0

_log = StructuredLogger("logistics.settlement")


class Settlement:
    """Settles deliveries of a queue that has the retry and dead-letter exchanges behind it."""

    def __init__(
        self,
        publisher: ConfirmedPublisher,
        *,
        retry_exchange: str,
        restore_topology: Callable[[], Awaitable[None]],
        tracing: ITracing = NO_TRACING,
    ) -> None:
        """`retry_exchange`: the one whose delay queues return to the queue the deliveries come from."""
        self._publisher = publisher
        self._retry_exchange = retry_exchange
        self._restore_topology = restore_topology
        self._tracing = tracing
        self._acks = GatheredAcks(wait_for_gaps=False)
        self._held: set[int] = set()

    @property
    def held(self) -> int:
        """Deliveries held just now, because the broker does not take what must go out."""
        return len(self._held)

    async def settle(self, message: DeliveredMessage, outcome: Outcome) -> None:
        """Perform the outcome.

        While the broker does not take what must go out (full queue, lost binding, outage) the delivery is held and
        the publish tried again. A dead letter that is too large to be published is rejected: the queue's own
        dead-lettering, which knows no size, leads to the same place. When the delivery's own channel is gone there is
        nothing left to settle: the broker delivers the message again.
        """
        match outcome:
            case Ack():
                pass
            case Retry(queue=queue, headers=headers) | Defer(queue=queue, headers=headers):
                if not await self._publish(message, self._retry_exchange, queue, dict(headers)):
                    return
            case DeadLetter(headers=headers):
                if not await self._publish(message, DEAD_LETTER_EXCHANGE, "", dict(headers)):
                    return
        await self._acks.settle(message, Word.ACK)

    async def give_back(self, message: DeliveredMessage) -> None:
        """Return the message to its queue, after a pause so that a lasting fault is no busy loop.

        By a reject, which counts towards the queue's delivery limit everywhere: since 4.3 a nack does not.
        """
        await asyncio.sleep(_REQUEUE_PAUSE)
        await self._acks.settle(message, Word.RETURN)

    async def _publish(self, message: DeliveredMessage, exchange: str, key: str, headers: dict[str, object]) -> bool:
        try:
            with self._tracing.publish(exchange=exchange, routing_key=key, body=message.body) as span:
                return await self._publish_until_confirmed(message, exchange, key, {**headers, **span.carried})
        finally:
            self._held.discard(id(message))

    async def _publish_until_confirmed(
        self, message: DeliveredMessage, exchange: str, key: str, headers: dict[str, object]
    ) -> bool:
        pause = _FIRST_PAUSE
        like = message.header.properties
        while not message.channel.is_closed:
            try:
                await self._publisher.publish(
                    exchange=exchange, routing_key=key, body=message.body, headers=headers, like=like
                )
            except PublishError as error:
                if isinstance(error, MessageTooLargeError) and exchange == DEAD_LETTER_EXCHANGE:
                    _log.warning("settlement.rejected", error=str(error))
                    await self._acks.settle(message, Word.REJECT)
                    return False
                _log.warning("settlement.held", exchange=exchange, routing_key=key, error=str(error), pause=pause)
                self._held.add(id(message))
                if isinstance(error, UnroutableError):
                    await self._try_to_restore()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return True
        _log.info("settlement.dropped", why="the channel is gone; the broker delivers the message again")
        return False

    async def _try_to_restore(self) -> None:
        try:
            await self._restore_topology()
        except LogisticsError as error:
            _log.error("topology.not_restored", error=str(error))


class RequeueSettlement:
    """Settles deliveries of a queue with nothing behind it: what is not done stays in the queue.

    For deliveries that wait for the store alone, and so take about the same time.
    """

    def __init__(self) -> None:
        self._acks = GatheredAcks(wait_for_gaps=True)

    async def settle(self, message: DeliveredMessage, outcome: Outcome) -> None:
        """Acknowledge, or give the message back after a pause."""
        if isinstance(outcome, Ack):
            await self._acks.settle(message, Word.ACK)
        else:
            await self.give_back(message)

    async def give_back(self, message: DeliveredMessage) -> None:
        """Return the message to its queue, after a pause so that a lasting fault is no busy loop."""
        await asyncio.sleep(_REQUEUE_PAUSE)
        await self._acks.settle(message, Word.NACK)
