"""Every exchange, queue and binding: the only place that spells a queue's arguments."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq.abc import AbstractChannel

from infra.rabbitmq.connection import broker_errors, connect, open_channel
from worker.domain.delivery_notice import NOTICE_EXCHANGE, NOTICE_KEY, NOTICE_QUEUE
from worker.domain.errors import TopologyMismatchError
from worker.domain.retry import DEFAULT_DELAYS, Delay

ORDERS_EXCHANGE = "orders"
RETRY_EXCHANGE = "orders.retry"
DEAD_LETTER_EXCHANGE = "orders.dead-letter"
WORK_QUEUE = "orders.work"
DEAD_LETTER_QUEUE = "orders.dlq"
PLACED_KEY = "order.placed"
SHIPMENTS_EXCHANGE = NOTICE_EXCHANGE
SHIPMENTS_RETRY_EXCHANGE = "shipments.retry"
DELIVERED_QUEUE = NOTICE_QUEUE
DELIVERED_KEY = NOTICE_KEY
OLDEST_RABBITMQ = (3, 10)
"""The first with a message TTL and at-least-once dead-lettering for quorum queues."""

_SAFE_QUEUE = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
# Dead-lettering by the broker waits for the target queue's confirm, too.
_CONFIRMED_DEAD_LETTERING = {"x-dead-letter-strategy": "at-least-once"}
TIMEOUT = 15.0
"""Seconds for one answer of the broker."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One durable exchange."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Queue:
    """One durable quorum queue and what is bound to it, as (exchange, routing key)."""

    name: str
    arguments: dict[str, str | int]
    bindings: Sequence[tuple[str, str]] = field(default_factory=tuple)


def retry_queue(label: str, *, exchange: str = RETRY_EXCHANGE) -> str:
    """Return the name of a delay's queue behind a retry exchange."""
    return f"{exchange}.{label}"


def queue_of(exchange: str, routing_key: str) -> str | None:
    """Return the queue of ours that a message with this key goes to; None for what is not ours."""
    if exchange == "":
        return routing_key
    if exchange == ORDERS_EXCHANGE and routing_key.partition(".")[0] == "order":
        return WORK_QUEUE
    if (exchange, routing_key) == (NOTICE_EXCHANGE, NOTICE_KEY):
        return NOTICE_QUEUE
    return None


class Topology:
    """The exchanges and queues of orders and of delivery notices, for a set of delays."""

    def __init__(self, delays: Sequence[Delay] = DEFAULT_DELAYS) -> None:
        self.exchanges = (
            Exchange(ORDERS_EXCHANGE, "topic"),
            Exchange(RETRY_EXCHANGE, "direct"),
            Exchange(DEAD_LETTER_EXCHANGE, "fanout"),
            Exchange(SHIPMENTS_EXCHANGE, "topic"),
            Exchange(SHIPMENTS_RETRY_EXCHANGE, "direct"),
        )
        # A limit nobody reaches: 3.10 destroys messages for -1, 4.x for its default of 20.
        dead = Queue(DEAD_LETTER_QUEUE, {**_SAFE_QUEUE, "x-delivery-limit": 1_000_000}, [(DEAD_LETTER_EXCHANGE, "")])
        by_label = {delay.label: delay for delay in delays}
        self.queues = (
            _work_queue(WORK_QUEUE, (ORDERS_EXCHANGE, "order.#")),
            *(_delay_queue(delay, RETRY_EXCHANGE, back_to=WORK_QUEUE) for delay in by_label.values()),
            _work_queue(DELIVERED_QUEUE, (SHIPMENTS_EXCHANGE, DELIVERED_KEY)),
            *(_delay_queue(delay, SHIPMENTS_RETRY_EXCHANGE, back_to=DELIVERED_QUEUE) for delay in by_label.values()),
            dead,
        )
        self.delay_labels = tuple(by_label)

    async def declare(self, connection: AbstractConnection) -> None:
        """Create what is missing, bindings included.

        Raises TopologyMismatchError when something of that name exists with other arguments, BrokerUnavailableError
        when the broker does not answer. Use a connection that does not restore itself: it would try for ever.
        """
        refuse_old_broker(connection)
        with broker_errors():
            channel = await open_channel(connection)
            await self.declare_on(channel)
            await channel.close()

    async def declare_on(self, channel: AbstractChannel, *, queue: str | None = None) -> None:
        """Create what is missing by way of this channel; all of it, or this queue and what it is bound to.

        Raises as `declare`; the channel is of no use then.
        """
        queues = [wanted for wanted in self.queues if queue in {None, wanted.name}]
        bound_to = {exchange for wanted in queues for exchange, _ in wanted.bindings}
        with broker_errors():
            try:
                for exchange in self.exchanges:
                    if queue is None or exchange.name in bound_to:
                        await channel.exchange_declare(
                            exchange.name, exchange_type=exchange.kind, durable=True, timeout=TIMEOUT
                        )
                for wanted in queues:
                    await _declare_queue(channel, wanted)
            except ChannelPreconditionFailed as error:
                raise TopologyMismatchError(
                    f"{describe_mismatch(str(error))} ('logistics topology verify' lists every difference)"
                ) from error

    async def ensure(self, url: str) -> None:
        """Declare on a connection of its own. Raises as `declare`."""
        connection = await connect(url, name="logistics topology")
        try:
            await self.declare(connection)
        finally:
            await connection.close()


def refuse_old_broker(connection: AbstractConnection) -> None:
    """Raise TopologyMismatchError for a RabbitMQ before 3.10: its quorum queues know no TTL, so no delay ever ends."""
    version = str(connection.transport.connection.server_properties.get("version")) if connection.transport else ""
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is not None and (int(match[1]), int(match[2])) < OLDEST_RABBITMQ:
        raise TopologyMismatchError(f"RabbitMQ {version} is too old: retries need 3.10 or later")


def describe_mismatch(text: str) -> str:
    """Return the broker's complaint about other arguments as a sentence."""
    match = re.search(r"inequivalent arg '([^']+)' for (\w+) '([^']+)'.*?received (.*?) but current is (.*)", text)
    if match is None:
        return text
    argument, kind, name, wanted, current = match.groups()
    return f"{kind} {name}: {argument} should be {_plain(wanted)}, but is {_plain(current)}"


def _plain(value: str) -> str:
    """Return `the value '5' of type 'signedint'` as `5`."""
    match = re.search(r"the value '([^']*)'", value)
    return match[1] if match else value.strip(" '\")")


def _work_queue(name: str, binding: tuple[str, str]) -> Queue:
    arguments: dict[str, str | int] = {
        **_SAFE_QUEUE,
        **_CONFIRMED_DEAD_LETTERING,
        "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE,
        "x-delivery-limit": 20,
    }
    return Queue(name, arguments, [binding])


def _delay_queue(delay: Delay, exchange: str, *, back_to: str) -> Queue:
    arguments: dict[str, str | int] = {
        **_SAFE_QUEUE,
        **_CONFIRMED_DEAD_LETTERING,
        "x-message-ttl": round(delay.seconds * 1000),
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": back_to,
    }
    return Queue(retry_queue(delay.label, exchange=exchange), arguments, [(exchange, delay.label)])


async def _declare_queue(channel: AbstractChannel, queue: Queue) -> None:
    await channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments), timeout=TIMEOUT)
    for exchange, key in queue.bindings:
        await channel.queue_bind(queue.name, exchange, key, timeout=TIMEOUT)
