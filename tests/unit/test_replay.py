"""What goes out in a replay: headers and origin of a dead letter's copy."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_ports import FakeRepository
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.dead_letter_reading import dead_letter_from
from worker.domain.delivery import Delivery, MessageState
from worker.domain.filing import DeadLetterFiling
from worker.domain.replay import Origin, origin_of, replay_headers
from worker.domain.selection import DeadLetterState

DEFAULT = Origin("orders", "order.placed")
REPLAY_ID = "11111111-2222-3333-4444-555555555555"


def headers_of(letter: DeadLetterRecord) -> dict[str, object]:
    return replay_headers(letter, replay_id=REPLAY_ID, origin=origin_of(letter, default=DEFAULT))


def test_a_copy_keeps_the_publishers_headers_and_the_trace_and_starts_counting_anew() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    letter = a_letter(
        trace_id="t-1",
        headers={
            "x-tenant": "acme",
            "priority": 3,
            "trace_id": "t-1",
            "traceparent": parent,
            "tracestate": "vendor=1",
            "attempt": 6,
            "deferrals": 4,
            "origin_exchange": "orders",
            "origin_routing_key": "order.placed",
            "origin_message_id": "m-1",
        },
    )
    assert headers_of(letter) == {
        "x-tenant": "acme",
        "priority": 3,
        "trace_id": "t-1",
        "traceparent": parent,
        "tracestate": "vendor=1",
        "attempt": 0,
        "deferrals": 0,
        "origin_exchange": "orders",
        "origin_routing_key": "order.placed",
        "origin_message_id": "m-1",
        "dead_letter_id": letter.id,
        "replay_id": REPLAY_ID,
    }


@pytest.mark.parametrize(
    "name",
    [
        *("error_type", "error_message", "error_frame", "error_chain", "dead_letter_reason"),
        *("first_failed_at", "not_before", "wait_left"),
        *("x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "x-acquired-count"),
    ],
)
def test_a_copy_carries_nothing_of_the_failure_nor_of_the_broker(name: str) -> None:
    assert name not in headers_of(a_letter(headers={name: "anything", "origin_routing_key": "order.placed"}))


def test_a_replay_of_a_replay_names_the_new_replay() -> None:
    letter = a_letter(headers={"replay_id": str(uuid.uuid4()), "dead_letter_id": str(uuid.uuid4())})
    assert headers_of(letter)["replay_id"] == REPLAY_ID
    assert headers_of(letter)["dead_letter_id"] == letter.id


def test_a_copy_goes_where_the_message_came_from() -> None:
    letter = a_letter(origin_exchange="", origin_routing_key="orders.work")
    assert origin_of(letter, default=DEFAULT) == Origin("", "orders.work")


@pytest.mark.parametrize(
    "fields",
    [
        {"origin_exchange": "", "origin_routing_key": ""},
        {"origin_exchange": "", "origin_routing_key": "orders.dlq", "reason": "unknown", "headers": {}},
    ],
)
def test_a_copy_of_unknown_origin_goes_to_the_orders(fields: dict[str, Any]) -> None:
    assert origin_of(a_letter(**fields), default=DEFAULT) == DEFAULT


def test_what_the_broker_itself_dead_lettered_has_an_origin() -> None:
    death = {"queue": "orders.work", "reason": "rejected", "exchange": "orders", "routing-keys": ["order.eu"]}
    delivery = Delivery(body=b"{}", headers={"x-death": [death]}, message_id="m", routing_key="order.eu")
    letter = dead_letter_from(delivery, order_id=None, now=NOW)
    assert letter.reason == "unknown"
    assert origin_of(letter, default=DEFAULT) == Origin("orders", "order.eu")


_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.binary(max_size=5), st.just([1, {"a": 2}])
)
_OWN = (
    *("trace_id", "traceparent", "tracestate", "attempt", "deferrals", "origin_exchange", "origin_routing_key"),
    *("origin_message_id", "dead_letter_id", "replay_id", "first_failed_at", "not_before", "error_chain", "x-death"),
)
_own = st.sampled_from(_OWN)


@given(headers=st.dictionaries(st.one_of(_own, st.text(max_size=12)), _values, max_size=12))
def test_whatever_the_headers_of_a_letter_hold_its_copy_is_read_as_a_fresh_first_try(
    headers: dict[str, object],
) -> None:
    letter = a_letter(headers=headers)
    sent = headers_of(letter)
    state = MessageState.read(Delivery(body=letter.body, headers=sent, message_id="new"), order_id=letter.order_id)
    assert state.ignored == ()
    assert (state.attempt, state.deferrals, state.first_failed_at, state.not_before) == (0, 0, None, None)
    assert (state.dead_letter_id, state.replay_id) == (letter.id, REPLAY_ID)
    assert state.trace.trace_id == letter.trace_id
    assert (state.origin_exchange, state.origin_routing_key) == ("orders", "order.placed")
    original = MessageState.read(Delivery(body=letter.body, headers=headers), order_id=letter.order_id)
    assert state.foreign == original.foreign


@given(headers=st.dictionaries(_own, _values, max_size=12))
def test_a_copy_that_fails_again_is_filed_as_the_same_letter(headers: dict[str, object]) -> None:
    letter = replace(a_letter(headers=headers), replay_id=REPLAY_ID, state=DeadLetterState.REPLAYING)
    letters = FakeDeadLetters()
    filing = DeadLetterFiling(dead_letters=letters, repository=FakeRepository(), worker_name="w", clock=lambda: NOW)
    failed_copy = Delivery(body=letter.body, headers=headers_of(letter), message_id="new")

    async def fail_again() -> DeadLetterRecord:
        await letters.insert(letter)
        return await filing.file(failed_copy)

    again = asyncio.run(fail_again())
    assert again.id == letter.id
    assert (again.state, again.replay_count) == (DeadLetterState.OPEN, letter.replay_count + 1)


def test_a_notice_goes_to_the_notices_whatever_its_origin_says() -> None:
    letter = a_letter(kind=LetterKind.DELIVERED, origin_exchange="orders", origin_routing_key="order.placed")
    assert origin_of(letter, default=DEFAULT) == Origin("shipments", "shipment.delivered")
