"""Spans by hand, as OpenTelemetry's conventions for messaging and HTTP name them. Needs the extra `otel`.

Conventions: https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/ and …/http/http-spans/, read in 2026.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, use_span

from infra.telemetry.span_context import links_to, parent_of, traceparent_of
from worker.domain.delivery import PREVIOUS_SPAN, Delivery, MessageState
from worker.domain.errors import SupplierRejectedError
from worker.domain.order import readable_order_id
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry
from worker.domain.trace import TraceContext, gives_trace
from worker.domain.tracing import ISpan

_LONGEST_WORDS = 300
_OUTCOMES = {Ack: "ack", Retry: "retry", Defer: "defer", DeadLetter: "dead_letter"}


class RecordedSpan:
    """`ISpan` on a span of OpenTelemetry."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        """This span, for what is called within it; None when it is not recorded: its trace is not sampled."""
        return traceparent_of(self._span.get_span_context()) if self._span.is_recording() else None

    @property
    def carried(self) -> Mapping[str, object]:
        """Headers for a message that is sent within it."""
        traceparent = self.traceparent
        return {} if traceparent is None else {PREVIOUS_SPAN: traceparent}

    def came_to(self, outcome: Outcome) -> None:
        """Note what is to become of a delivery."""
        self._span.set_attribute("logistics.outcome", _OUTCOMES[type(outcome)])
        match outcome:
            case Ack(note=note):
                self._span.set_attribute("logistics.note", note)
            case Retry(queue=queue, error=error) | Defer(queue=queue, error=error):
                self._span.set_attribute("logistics.delay", queue)
                if error is not None:
                    self._span.set_attribute("logistics.error", type(error).__name__)
            case DeadLetter(reason=reason, error=error):
                self._span.set_attribute("logistics.dead_letter.reason", str(reason))
                self.failed(error)

    def answered(self, status: int) -> None:
        """Note the status of an answer."""
        self._span.set_attribute("http.response.status_code", status)

    def failed(self, error: BaseException) -> None:
        """Mark it as failed for good."""
        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(Status(StatusCode.ERROR, str(error)[:_LONGEST_WORDS]))


class SpanTracing:
    """`ITracing` on a tracer provider of OpenTelemetry."""

    def __init__(self, provider: TracerProvider, *, amqp_url: str, client: str) -> None:
        """`client`: how this process is called. Of the URL only host and port are told."""
        self._provider = provider
        self._tracer = provider.get_tracer("logistics")
        broker = urlsplit(amqp_url)
        self._messaging: dict[str, str | int] = {
            "messaging.system": "rabbitmq",
            "messaging.client.id": client,
            "server.address": broker.hostname or "localhost",
            "server.port": broker.port or (5671 if broker.scheme == "amqps" else 5672),
        }

    @contextmanager
    def process(self, queue: str, delivery: Delivery, *, tag: int | None = None) -> Iterator[ISpan]:
        """Begin the span of one delivery."""
        known = gives_trace(delivery.headers)
        state = MessageState.read(delivery, order_id=None if known else readable_order_id(delivery.body))
        attributes = {
            **self._messaging,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": _taken_from(delivery, queue),
            "messaging.destination.template": queue,
            "messaging.rabbitmq.destination.routing_key": delivery.routing_key or None,
            "messaging.rabbitmq.message.delivery_tag": tag,
            "messaging.message.id": delivery.message_id,
            "messaging.message.body.size": len(delivery.body),
            "logistics.trace_id": state.trace.trace_id,
            "logistics.attempt": state.attempt + 1,
            "logistics.deferrals": state.deferrals,
            "logistics.redelivered": delivery.redelivered,
            "logistics.dead_letter.id": state.dead_letter_id,
            "logistics.replay.id": state.replay_id,
        }
        name = f"process {queue}"
        with self._span(
            name, SpanKind.CONSUMER, attributes, parent=parent_of(state.trace), links=links_to(state.previous_span)
        ) as span:
            yield RecordedSpan(span)

    @contextmanager
    def publish(
        self,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        trace: TraceContext | None = None,
        previous: str | None = None,
    ) -> Iterator[ISpan]:
        """Begin the span of a publish."""
        destination = ":".join(filter(None, (exchange, routing_key))) or "amq.default"
        attributes = {
            **self._messaging,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": destination,
            "messaging.rabbitmq.destination.routing_key": routing_key or None,
            "messaging.message.body.size": len(body),
        }
        parent = None if trace is None else parent_of(trace)
        name = f"publish {destination}"
        with self._span(name, SpanKind.PRODUCER, attributes, parent=parent, links=links_to(previous)) as span:
            recorded = RecordedSpan(span)
            try:
                yield recorded
            except Exception as error:
                recorded.failed(error)
                raise

    @contextmanager
    def request(self, method: str, url: str) -> Iterator[ISpan]:
        """Begin the span of an HTTP request."""
        server = urlsplit(url)
        attributes = {
            "http.request.method": method,
            "url.full": url,
            "server.address": server.hostname,
            "server.port": server.port or (443 if server.scheme == "https" else 80),
        }
        with self._span(method, SpanKind.CLIENT, attributes) as span:
            recorded = RecordedSpan(span)
            try:
                yield recorded
            except SupplierRejectedError as error:
                recorded.failed(error)
                raise

    def close(self, *, timeout: float) -> bool:
        """Send what is still here. A collector that does not answer is waited for no longer than `timeout` seconds."""
        closing = Thread(target=self._provider.shutdown, name="spans-closing", daemon=True)
        closing.start()
        closing.join(timeout)
        return not closing.is_alive()

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, str | int | None],
        *,
        parent: Context | None = None,
        links: list[Link] | None = None,
    ) -> Iterator[Span]:
        known = {key: value for key, value in attributes.items() if value is not None}
        span = self._tracer.start_span(name, context=parent, kind=kind, attributes=known, links=links)
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except Exception as error:
                span.set_attribute("logistics.error", type(error).__name__)
                raise


def _taken_from(delivery: Delivery, queue: str) -> str:
    """Return the destination as the conventions want it: `exchange:key:queue`, without what is empty or said twice."""
    parts = (delivery.exchange, delivery.routing_key if delivery.routing_key != queue else "", queue)
    return ":".join(filter(None, parts))
