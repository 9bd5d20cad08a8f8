"""Spans, in memory: their names and attributes, whose child each is, what it links to, and when it is an error."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from infra.telemetry.span_context import TraceIds, traceparent_of
from infra.telemetry.spans import SpanTracing
from worker.domain.delivery import PREVIOUS_SPAN, Delivery, MessageState
from worker.domain.errors import (
    BrokerUnavailableError,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
    SupplierUnavailableError,
)
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.trace import TraceContext
from worker.domain.tracing import NO_TRACING

TRACE, PARENT, BEFORE = "a" * 32, "b" * 16, "c" * 16
PUBLISHED = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
PREVIOUS = f"00-{TRACE}-{BEFORE}-01"
BODY = b'{"order_id": "A-1", "destination": "Oslo"}'
ERROR = SupplierOutcomeUnknownError("no answer within 10 s")


class Room:
    """A tracing whose spans stay in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(id_generator=TraceIds(), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = SpanTracing(provider, amqp_url="amqp://user:s3cret@broker.example/orders", client="w-1")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return list(self._exporter.get_finished_spans())

    def processed(self, outcome: Outcome | None = None, delivery: Delivery | None = None) -> ReadableSpan:
        with self.tracing.process("orders.work", delivery or an_order(), tag=7) as span:
            if outcome is not None:
                span.came_to(outcome)
        return self.spans[-1]


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.tracing.close(timeout=1.0)


def an_order(**headers: object) -> Delivery:
    made = {"traceparent": PUBLISHED, **headers}
    return Delivery(BODY, made, message_id="m-1", exchange="orders", routing_key="order.placed")


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> tuple[str, str] | None:
    return None if span.parent is None else (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}")


def links_of(span: ReadableSpan) -> list[str]:
    return [f"{link.context.span_id:016x}" for link in span.links]


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    context = span.context
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def test_a_delivery_s_span_is_named_and_described_as_the_conventions_ask(room: Room) -> None:
    span = room.processed(Ack("shipped"), an_order(attempt=2, deferrals=1, trace_id="t-1"))
    assert (span.name, span.kind) == ("process orders.work", SpanKind.CONSUMER)
    assert attributes(span) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders:order.placed:orders.work",
        "messaging.destination.template": "orders.work",
        "messaging.rabbitmq.destination.routing_key": "order.placed",
        "messaging.rabbitmq.message.delivery_tag": 7,
        "messaging.message.id": "m-1",
        "messaging.message.body.size": len(BODY),
        "messaging.client.id": "w-1",
        "server.address": "broker.example",
        "server.port": 5672,
        "logistics.trace_id": "t-1",
        "logistics.attempt": 3,
        "logistics.deferrals": 1,
        "logistics.redelivered": False,
        "logistics.outcome": "ack",
        "logistics.note": "shipped",
    }


def test_what_came_back_from_a_delay_queue_is_described_without_saying_the_queue_twice(room: Room) -> None:
    returned = replace(an_order(), exchange="", routing_key="orders.work")
    assert attributes(room.processed(delivery=returned))["messaging.destination.name"] == "orders.work"


def test_a_delivery_s_span_is_its_publisher_s_child_and_links_to_nothing(room: Room) -> None:
    span = room.processed()
    assert (parent_of(span), links_of(span)) == ((TRACE, PARENT), [])


def test_a_later_delivery_s_span_is_still_its_publisher_s_child_and_links_to_the_one_before(room: Room) -> None:
    span = room.processed(delivery=an_order(previous_span=PREVIOUS, attempt=1))
    assert (parent_of(span), links_of(span)) == ((TRACE, PARENT), [BEFORE])


@pytest.mark.parametrize("headers", [{"traceparent": None}, {"traceparent": None, "trace_id": "0af7" * 8}])
def test_without_a_publisher_s_span_the_first_one_is_the_root_of_the_order_s_trace(
    room: Room, headers: dict[str, object]
) -> None:
    delivery = an_order(**headers)
    span = room.processed(delivery=delivery)
    trace = MessageState.read(delivery, order_id="A-1").trace
    assert span.parent is None
    assert ids_of(span)[0] == trace.traceparent.split("-")[1]
    again = replace(delivery, headers={**headers, "traceparent": trace.traceparent})  # as a retry carries it
    assert room.processed(delivery=again).parent is None
    assert ids_of(room.spans[-1])[0] == ids_of(span)[0]


def test_what_is_done_within_a_delivery_is_its_child(room: Room) -> None:
    with room.tracing.process("orders.work", an_order()):
        with room.tracing.request("POST", "http://supplier.example:8080/dispatches"):
            pass
        with room.tracing.publish(exchange="orders.retry", routing_key="5s", body=BODY):
            pass
    request, publish, process = room.spans
    assert parent_of(request) == parent_of(publish) == ids_of(process)


def test_a_publish_s_span_is_described_and_carried_by_the_message(room: Room) -> None:
    with (
        room.tracing.process("orders.work", an_order()),
        room.tracing.publish(exchange="orders.retry", routing_key="5s", body=BODY) as sent,
    ):
        carried = dict(sent.carried)
    span = room.spans[0]
    assert (span.name, span.kind) == ("publish orders.retry:5s", SpanKind.PRODUCER)
    assert attributes(span) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders.retry:5s",
        "messaging.rabbitmq.destination.routing_key": "5s",
        "messaging.message.body.size": len(BODY),
        "messaging.client.id": "w-1",
        "server.address": "broker.example",
        "server.port": 5672,
    }
    assert carried == {PREVIOUS_SPAN: "-".join(("00", *ids_of(span), "01"))}
    room.processed(delivery=an_order(**carried))
    assert links_of(room.spans[-1]) == [ids_of(span)[1]]


@pytest.mark.parametrize(
    ("exchange", "key", "name"),
    [("orders.dead-letter", "", "orders.dead-letter"), ("", "orders.work", "orders.work"), ("", "", "amq.default")],
)
def test_a_destination_is_named_without_what_is_empty(room: Room, exchange: str, key: str, name: str) -> None:
    with room.tracing.publish(exchange=exchange, routing_key=key, body=b""):
        pass
    assert room.spans[-1].name == f"publish {name}"
    assert attributes(room.spans[-1])["messaging.destination.name"] == name


def test_a_replay_s_span_is_the_publisher_s_child_and_links_to_what_dead_lettered_it(room: Room) -> None:
    trace = TraceContext(TRACE, PUBLISHED)
    with room.tracing.publish(exchange="orders", routing_key="a.b", body=BODY, trace=trace, previous=PREVIOUS):
        pass
    assert (parent_of(room.spans[-1]), links_of(room.spans[-1])) == ((TRACE, PARENT), [BEFORE])


def test_a_request_s_span_is_described_and_is_what_the_supplier_sees(room: Room) -> None:
    with room.tracing.request("POST", "https://supplier.example/api/dispatches") as asked:
        seen = asked.traceparent
        asked.answered(202)
    span = room.spans[-1]
    assert (span.name, span.kind) == ("POST", SpanKind.CLIENT)
    assert attributes(span) == {
        "http.request.method": "POST",
        "url.full": "https://supplier.example/api/dispatches",
        "server.address": "supplier.example",
        "server.port": 443,
        "http.response.status_code": 202,
    }
    assert seen == "-".join(("00", *ids_of(span), "01"))


@pytest.mark.parametrize(
    "outcome", [Ack("duplicate"), Retry("5s", ERROR, 0), Defer("5s", ERROR, 0), Defer("5s", None, 0)]
)
def test_what_goes_on_is_no_error(room: Room, outcome: Outcome) -> None:
    span = room.processed(outcome)
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(span)


def test_a_retry_says_how_long_it_waits_and_what_went_wrong(room: Room) -> None:
    seen = attributes(room.processed(Retry("5s", ERROR, 0)))
    names = ("logistics.outcome", "logistics.delay", "logistics.error")
    assert [seen[name] for name in names] == ["retry", "5s", "SupplierOutcomeUnknownError"]


def test_a_dead_letter_is_an_error_with_its_words(room: Room) -> None:
    span = room.processed(DeadLetter(DeadLetterReason.SUPPLIER_REJECTED, SupplierRejectedError("HTTP 422: no")))
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "HTTP 422: no")
    assert attributes(span)["error.type"] == "SupplierRejectedError"
    assert attributes(span)["logistics.dead_letter.reason"] == "supplier_rejected"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SupplierRejectedError("no"), StatusCode.ERROR),
        (SupplierUnavailableError("later"), StatusCode.UNSET),
        (ERROR, StatusCode.UNSET),
    ],
)
def test_of_requests_only_a_final_no_is_an_error(room: Room, error: Exception, status: StatusCode) -> None:
    with suppress(type(error)), room.tracing.request("POST", "http://supplier.example/"):
        raise error
    assert room.spans[-1].status.status_code is status
    assert attributes(room.spans[-1])["logistics.error"] == type(error).__name__


def test_a_publish_that_was_given_up_is_an_error(room: Room) -> None:
    with suppress(BrokerUnavailableError), room.tracing.publish(exchange="orders", routing_key="a", body=BODY):
        raise BrokerUnavailableError("gone")
    assert room.spans[-1].status.status_code is StatusCode.ERROR


def test_a_delivery_that_crashed_says_so_and_is_no_error_yet_since_it_comes_back(room: Room) -> None:
    with suppress(ZeroDivisionError), room.tracing.process("orders.work", an_order()):
        raise ZeroDivisionError
    assert attributes(room.spans[-1])["logistics.error"] == "ZeroDivisionError"
    assert room.spans[-1].status.status_code is StatusCode.UNSET


def test_a_trace_that_is_not_sampled_is_not_recorded_and_messages_stay_as_they_were(room: Room) -> None:
    with room.tracing.process("orders.work", an_order(traceparent=UNSAMPLED)):
        with room.tracing.request("POST", "http://supplier.example/") as asked:
            assert asked.traceparent is None
        with room.tracing.publish(exchange="orders.retry", routing_key="5s", body=BODY) as sent:
            assert sent.carried == {}
    assert room.spans == []


def test_the_publisher_s_tracestate_goes_with_the_span(room: Room) -> None:
    span = room.processed(delivery=an_order(tracestate="shop=1,other=2"))
    assert span.context is not None
    assert span.context.trace_state.to_header() == "shop=1,other=2"


@pytest.mark.parametrize("spoilt", ["", "00-xyz", 7, b"00", f"00-{'0' * 32}-{PARENT}-01"])
def test_a_previous_span_that_is_none_is_no_link(room: Room, spoilt: object) -> None:
    assert links_of(room.processed(delivery=an_order(previous_span=spoilt))) == []


def test_the_password_of_the_broker_is_in_no_span(room: Room) -> None:
    room.processed(Ack("shipped"))
    assert "s3cret" not in room.spans[-1].to_json()


def test_a_span_s_traceparent_is_w3c(room: Room) -> None:
    span = room.processed()
    assert span.context is not None
    assert traceparent_of(span.context) == "-".join(("00", *ids_of(span), "01"))


def test_without_tracing_nothing_is_carried_and_nothing_is_said() -> None:
    with NO_TRACING.process("orders.work", an_order(), tag=1) as span:
        span.came_to(Ack("shipped"))
        with NO_TRACING.request("POST", "http://supplier.example/") as asked:
            asked.answered(500)
            assert asked.traceparent is None
        with NO_TRACING.publish(exchange="a", routing_key="b", body=b"") as sent:
            assert sent.carried == {}
    assert NO_TRACING.close(timeout=0.0)
