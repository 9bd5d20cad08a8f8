"""Publishing orders: what a service that places orders imports, and what `logistics publish` uses."""

import asyncio
import json
import math
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from aio_pika.exceptions import AuthenticationError, ProbableAuthenticationError
from aiormq.exceptions import ChannelAccessRefused

from infra.rabbitmq.publisher import ConfirmedPublisher
from infra.rabbitmq.topology import ORDERS_EXCHANGE, PLACED_KEY
from worker.domain.delivery import PUBLISHED_AT
from worker.domain.errors import (
    BrokerUnavailableError,
    MalformedOrderError,
    MessageTooLargeError,
    PublishError,
    UnroutableError,
)
from worker.domain.order import DEFAULT_MAX_BODY_BYTES, parse_order
from worker.domain.trace import TraceContext, is_valid_trace_id
from worker.domain.tracing import NO_TRACING, ITracing

_GIVE_UP_AFTER = 30.0
_CLOSE_TIMEOUT = 5.0
_TELL_EVERY = 5.0
_PAUSE = 0.25
# Asking again does not help against these.
_FINAL = (AuthenticationError, ProbableAuthenticationError, ChannelAccessRefused)


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """An order ready to be sent, one that every worker accepts."""

    order_id: str
    body: bytes
    trace: TraceContext


@dataclass(frozen=True, slots=True)
class PublishedOrder:
    """An order the broker has confirmed, and the ids to follow it by."""

    order_id: str
    message_id: str
    trace_id: str
    traceparent: str


class OrderPublisher:
    """Publishes orders on the exchange `orders`, so that the broker has them on disk or you get an error.

        async with OrderPublisher("amqp://user:password@host:5672/vhost") as publisher:
            await publisher.publish(order_id="A-1001", destination="Berlin", extra={"weight_kg": 2.5})

    While the broker is away it tries again, `give_up_after` seconds for each order. A try that was cut off may have
    arrived all the same, so that an order can be in the queue twice: the worker ships it once. `on_outage` is told
    every five seconds while it has to try again. Many orders may be published at once.
    """

    def __init__(
        self,
        amqp_url: str,
        *,
        name: str = "order publisher",
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        give_up_after: float = _GIVE_UP_AFTER,
        on_outage: Callable[[PublishError], None] = lambda _: None,
        tracing: ITracing = NO_TRACING,
    ) -> None:
        """`name` is shown by the broker; `max_body_bytes` is the worker's LOGISTICS_MAX_BODY_BYTES.

        `tracing`: where a span for each order is recorded, which the worker's spans are children of.
        """
        self._publisher = ConfirmedPublisher(amqp_url, name=name)
        self._max_body_bytes = max_body_bytes
        self._give_up_after = give_up_after
        self._on_outage = on_outage
        self._tracing = tracing
        self._turn = asyncio.Lock()
        self._problem: PublishError | None = None
        self._told_at = -math.inf

    async def publish(
        self,
        *,
        order_id: str,
        destination: str,
        trace_id: str | None = None,
        traceparent: str | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> PublishedOrder:
        """Publish an order with these fields, `extra` beside them. Raises as `prepare` and `send`."""
        body = order_body(order_id=order_id, destination=destination, extra=extra or {})
        return await self.publish_body(body, trace_id=trace_id, traceparent=traceparent)

    async def publish_body(
        self, body: bytes, *, trace_id: str | None = None, traceparent: str | None = None
    ) -> PublishedOrder:
        """Publish an order that is JSON already, byte for byte. Raises as `prepare` and `send`."""
        return await self.send(self.prepare(body, trace_id=trace_id, traceparent=traceparent))

    def prepare(self, body: bytes, *, trace_id: str | None = None, traceparent: str | None = None) -> OrderMessage:
        """Check a body as the worker will, and give it a trace.

        A trace that is not given is made from the order id, so that an order published again keeps its trace. Raises
        MalformedOrderError, and ValueError when the trace given is none.
        """
        order = parse_order(body, max_bytes=self._max_body_bytes)
        return OrderMessage(order.order_id, body, _trace(order.order_id, trace_id, traceparent))

    async def send(self, order: OrderMessage) -> PublishedOrder:
        """Publish a prepared order; return when the broker has confirmed it.

        Raises UnroutableError (nobody has declared the queues), MessageTooLargeError, BrokerUnavailableError (wrong
        password, or no answer within the time) or PublishError (the queue stayed full). After the latter two it may
        have arrived all the same.
        """
        trace = order.trace
        with self._tracing.publish(
            exchange=ORDERS_EXCHANGE, routing_key=PLACED_KEY, body=order.body, trace=trace
        ) as span:
            trace = replace(trace, traceparent=span.traceparent or trace.traceparent)
            return await self._send(replace(order, trace=trace))

    async def _send(self, order: OrderMessage) -> PublishedOrder:
        try:
            async with asyncio.timeout(self._give_up_after):
                while True:
                    published = await (self._try(order) if self._problem is None else self._try_in_turn(order))
                    if published is not None:
                        return published
        except TimeoutError:
            raise self._given_up() from self._problem

    async def close(self) -> None:
        """Close the connection. Whatever was published is confirmed already, so trouble here means nothing."""
        with suppress(BrokerUnavailableError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._publisher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _try(self, order: OrderMessage) -> PublishedOrder | None:
        """Return None when it was not confirmed and trying again may help."""
        message_id = uuid.uuid4().hex  # fresh for every try: the client tells confirms apart by it
        try:
            await self._publisher.publish(
                exchange=ORDERS_EXCHANGE,
                routing_key=PLACED_KEY,
                body=order.body,
                headers={
                    "trace_id": order.trace.trace_id,
                    "traceparent": order.trace.traceparent,
                    PUBLISHED_AT: int(time.time() * 1000),  # AMQP's own timestamp has whole seconds
                },
                message_id=message_id,
            )
        except PublishError as error:
            self._note(error)
            return None
        self._problem = None
        return PublishedOrder(order.order_id, message_id, order.trace.trace_id, order.trace.traceparent)

    async def _try_in_turn(self, order: OrderMessage) -> PublishedOrder | None:
        """While there is trouble, one tries for all who wait."""
        async with self._turn:
            if self._problem is None:
                return None
            published = await self._try(order)
            if published is None:
                await asyncio.sleep(_PAUSE)
            return published

    def _note(self, error: PublishError) -> None:
        if isinstance(error, UnroutableError):
            raise UnroutableError(
                f"{error}: run 'logistics topology declare' or start a worker, then publish again"
            ) from error
        if isinstance(error, MessageTooLargeError) or isinstance(error.__cause__, _FINAL):
            raise error
        self._problem = error
        if time.monotonic() - self._told_at >= _TELL_EVERY:
            self._told_at = time.monotonic()
            self._on_outage(error)

    def _given_up(self) -> PublishError:
        text = f"not confirmed within {self._give_up_after:g} s"
        if self._problem is None:
            return BrokerUnavailableError(f"RabbitMQ does not answer (a memory or disk alarm blocks it, too): {text}")
        return type(self._problem)(f"{self._problem}; {text}")


def order_body(*, order_id: str, destination: str, extra: Mapping[str, object]) -> bytes:
    """Return the body of an order with these fields. Raises MalformedOrderError when they cannot be JSON."""
    fields = {"order_id": order_id, "destination": destination}
    if clash := sorted(fields.keys() & extra.keys()):
        raise MalformedOrderError(f"{clash[0]} is given twice")
    try:
        return json.dumps({**fields, **extra}, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedOrderError(f"a field cannot be written as JSON: {error}") from error


def _trace(order_id: str, trace_id: str | None, traceparent: str | None) -> TraceContext:
    given = {"trace_id": trace_id, "traceparent": traceparent}
    trace = TraceContext.from_headers(given, seed=order_id)
    if trace_id is not None and not is_valid_trace_id(trace_id):
        raise ValueError("a trace id has 1 to 128 characters, none of them a control character")
    if traceparent is not None and not traceparent.startswith(trace.traceparent):
        raise ValueError("a traceparent looks like 00-<32 hex digits>-<16 hex digits>-01, in lower case")
    return trace
