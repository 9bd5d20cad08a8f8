"""The AsyncAPI document: valid, whole in itself, made from the topology, and true of the messages that we write."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from infra.rabbitmq.topology import Topology
from tests.support.asyncapi import faults_of, resolved
from tests.support.letters import a_letter
from tests.support.system import PROJECT
from worker.asyncapi import asyncapi_document
from worker.domain.delivery import _OWN_HEADERS, Delivery, MessageState
from worker.domain.errors import CircuitBreakerOpenException, SupplierOutcomeUnknownError
from worker.domain.outcome import DeadLetter, DeadLetterReason, Defer, Retry
from worker.domain.replay import Origin, replay_headers
from worker.domain.retry import Delay
from worker.header_schemas import HEADERS

OFFICIAL = PROJECT / ".venv" / "share" / "asyncapi-3.0.0.json"
TOPOLOGY = Topology([Delay.parse("1s"), Delay.parse("10m")])
DOCUMENT = asyncapi_document(TOPOLOGY, version="1.2.3")
ORDER = b'{"order_id": "A-1", "destination": "Oslo"}'
NOTICE = b'{"order_id": "A-1", "delivered_at": "2026-03-01T12:00:00Z"}'
REFUSED, LOST = CircuitBreakerOpenException(2.0), SupplierOutcomeUnknownError("no answer within 10 s")
RETRY = Retry("1s", LOST, not_before=1_772_366_400_000, wait_left=100)
DEFER = Defer("1s", REFUSED, not_before=1_772_366_400_000)
EARLY = Defer("1s", None, not_before=1_772_366_400_000)
DEAD = DeadLetter(DeadLetterReason.ATTEMPTS_EXHAUSTED, LOST)


def references(part: object) -> Iterator[str]:
    """Every `$ref` in it."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name == "$ref":
                yield str(value)
            yield from references(value)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def written(
    body: bytes,
    outcome: Retry | Defer | DeadLetter,
    *,
    before: Mapping[str, object] = MappingProxyType({}),
    is_notice: bool = False,
) -> dict[str, object]:
    """The headers that go out for an outcome; `before`: those that came in."""
    delivery = Delivery(body, before, message_id="m-1", exchange="orders", routing_key="order.placed")
    state = MessageState.read(delivery, order_id="A-1")
    return state.headers_after(outcome, now=1_772_366_400_000, body=body, order_id="A-1", is_notice=is_notice)


def test_it_names_its_version_and_the_program_s() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


@pytest.fixture(scope="module")
def official() -> Any:
    """Judges documents by the schema that AsyncAPI publishes."""
    if not OFFICIAL.exists():
        pytest.skip("AsyncAPI's own schema is not here: `make install-test-tools` fetches it where there is npm")
    return jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text("utf-8")))


def test_asyncapi_s_own_schema_finds_no_fault_with_it(official: Any) -> None:
    assert [error.message for error in official.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("path", "spoilt"),
    [
        (("info",), {"title": "no version"}),
        (("operations", "takeOrders", "action"), "publish"),
        (("channels", "orders", "adress"), "misspelt"),
        (("channels", "orders", "bindings", "amqp", "exchange", "type"), "fan-out"),
        (("components", "messages", "order", "headers"), {"type": "objekt"}),
    ],
)
def test_asyncapi_s_own_schema_finds_what_is_spoilt(official: Any, path: tuple[str, ...], spoilt: object) -> None:
    document = copy.deepcopy(DOCUMENT)
    part = document
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = spoilt
    assert not official.is_valid(document)


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    found = set(references(DOCUMENT))
    assert all(isinstance(resolved(DOCUMENT, reference), dict) for reference in found)
    for kind in ("messages", "schemas"):
        for name in DOCUMENT["components"][kind]:
            assert f"#/components/{kind}/{name}" in found


def test_names_are_such_as_asyncapi_allows() -> None:
    for part in (DOCUMENT["channels"], DOCUMENT["operations"], *DOCUMENT["components"].values()):
        assert all(re.fullmatch(r"[\w.-]+", name) for name in part)


def test_exchanges_queues_bindings_and_arguments_are_those_of_the_topology() -> None:
    channels = dict(DOCUMENT["channels"])
    for exchange in TOPOLOGY.exchanges:
        binding = channels.pop(exchange.name)["bindings"]["amqp"]
        assert binding["is"] == "routingKey"
        assert binding["exchange"].items() >= {"name": exchange.name, "type": exchange.kind, "durable": True}.items()
    for queue in TOPOLOGY.queues:
        channel = channels.pop(queue.name)
        binding = channel["bindings"]["amqp"]
        assert (binding["is"], binding["queue"]["name"], binding["queue"]["durable"]) == ("queue", queue.name, True)
        assert binding["x-arguments"] == queue.arguments
        assert [(one["exchange"], one["routingKey"]) for one in channel["x-bound-to"]] == list(queue.bindings)
    assert channels == {}


def test_a_delay_is_a_parameter_with_the_delays_there_are() -> None:
    for name in ("orders.retry", "shipments.retry"):
        channel = DOCUMENT["channels"][name]
        assert channel["address"] == "{delay}"
        assert channel["parameters"]["delay"]["enum"] == ["1s", "10m"]


def test_an_operation_s_messages_are_messages_of_its_channel() -> None:
    for operation in DOCUMENT["operations"].values():
        channel = operation["channel"]["$ref"]
        assert operation["action"] in {"send", "receive"}
        assert operation["messages"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_every_schema_in_it_is_a_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)
    for message in DOCUMENT["components"]["messages"].values():
        jsonschema.Draft7Validator.check_schema(message["headers"])


def test_every_header_of_ours_is_described_and_no_other() -> None:
    known = {*_OWN_HEADERS, "published_at"}  # the latter is the publisher's, and only read
    assert HEADERS.keys() == known
    messages = DOCUMENT["components"]["messages"].values()
    assert {name for message in messages for name in message["headers"]["properties"]} == known


@pytest.mark.parametrize("outcome", [RETRY, DEFER, EARLY])
@pytest.mark.parametrize("before", [{}, {"attempt": 2, "tracestate": "a=b", "first_failed_at": 1, "x-shop": [1.5]}])
def test_what_comes_back_is_as_described(outcome: Retry | Defer, before: dict[str, object]) -> None:
    headers = written(ORDER, outcome, before=before)
    assert faults_of(DOCUMENT, "orders.retry", headers, ORDER) == []
    headers = written(NOTICE, outcome, before=before, is_notice=True)
    del headers["trace_id"], headers["traceparent"]
    assert faults_of(DOCUMENT, "shipments.retry", headers, NOTICE) == []


@pytest.mark.parametrize("reason", DeadLetterReason)
def test_what_is_given_up_is_as_described(reason: DeadLetterReason) -> None:
    headers = written(b"no order", DeadLetter(reason, LOST))
    assert faults_of(DOCUMENT, "orders.dead-letter", headers, b"no order") == []


def test_what_goes_out_again_is_as_described() -> None:
    letter = a_letter(body=ORDER)
    headers = replay_headers(letter, replay_id="7c9a2d1e-4b0f-5f6a-9a57-2c1de8f0b3a4", origin=Origin("orders", "a.b"))
    assert faults_of(DOCUMENT, "orders", headers, ORDER) == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"trace_id": 7}, ORDER),
        ({"trace_id": "x" * 129}, ORDER),
        ({}, b'{"order_id": "A-1"}'),
        ({}, NOTICE),
    ],
)
def test_what_is_not_as_described_is_noticed(headers: dict[str, object], body: bytes) -> None:
    assert faults_of(DOCUMENT, "orders", {}, ORDER) == []
    assert faults_of(DOCUMENT, "orders", headers, body) != []


@pytest.mark.parametrize("missing", ["attempt", "origin_exchange", "dead_letter_reason", "dead_letter_id"])
def test_a_dead_letter_without_its_headers_is_noticed(missing: str) -> None:
    headers = written(ORDER, DEAD)
    del headers[missing]
    assert faults_of(DOCUMENT, "orders.dead-letter", headers, ORDER) != []
