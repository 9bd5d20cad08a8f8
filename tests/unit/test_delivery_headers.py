"""Headers in, headers out: whatever they hold, nothing breaks and nothing of ours is lost."""

import uuid
from datetime import UTC, datetime

import bson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp import decode

from infra.mongodb.documents import safe_value
from infra.rabbitmq.header_values import encoded_table
from infra.rabbitmq.headers import fitting_headers
from tests.support.strategies import BROKER_HEADERS, OWN_HEADERS, arbitrary_headers, header_values, order_ids
from worker.domain.delivery import Delivery, MessageState, dead_letter_id_for, to_milliseconds
from worker.domain.errors import (
    CircuitBreakerOpenException,
    MalformedOrderError,
    StoreUnavailableError,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
)
from worker.domain.outcome import DeadLetter, DeadLetterReason, Defer, Retry

NOW = 1_772_366_400_000
FRAME = 131_072
UNKNOWN = SupplierOutcomeUnknownError("cut")
OPEN = CircuitBreakerOpenException(3.0)

deliveries = st.builds(
    Delivery,
    body=st.binary(max_size=50),
    headers=arbitrary_headers,
    message_id=st.none() | st.text(max_size=300),
    exchange=st.sampled_from(["", "orders", "orders.dead-letter"]),
    routing_key=st.sampled_from(["", "order.placed", "orders.work"]),
)
raised = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([SupplierOutcomeUnknownError, SupplierRejectedError, MalformedOrderError, OSError]),
    st.text(st.characters(), max_size=2000),  # half surrogate pairs and NUL included
)
outcomes = (
    st.builds(Retry, queue=st.just("5s"), error=raised, not_before=st.just(NOW + 5000))
    | st.builds(Defer, queue=st.just("5s"), error=st.none() | raised, not_before=st.just(NOW + 5000))
    | st.builds(DeadLetter, reason=st.sampled_from(DeadLetterReason), error=raised)
)


def state_of(headers: dict[str, object], **more: object) -> MessageState:
    return MessageState.read(Delivery(b"{}", headers, **more), order_id="A-1")  # type: ignore[arg-type] # as given


def after(
    state: MessageState, outcome: Retry | Defer | DeadLetter, *, order_id: str | None = "A-1"
) -> dict[str, object]:
    return state.headers_after(outcome, now=NOW, body=b"{}", order_id=order_id)


@pytest.mark.parametrize("name", ["x-death-note", "x-deaths", "x-delivery-count-of-mine", "x-acquired-counts"])
def test_a_header_that_only_begins_like_one_of_the_broker_s_stays_the_publisher_s(name: str) -> None:
    assert state_of({name: "mine"}).foreign == {name: "mine"}


@given(deliveries, st.none() | order_ids)
@example(Delivery(b"", {"x-first-death-": ""}), None)  # the broker's prefixes are kept for what it may note one day
def test_whatever_the_headers_hold_the_state_makes_sense(delivery: Delivery, order_id: str | None) -> None:
    state = MessageState.read(delivery, order_id=order_id)
    assert 0 <= state.attempt <= 1_000_000
    assert 0 <= state.deferrals <= 1_000_000
    assert 0 < len(state.trace.trace_id) <= 128
    assert 0 < len(state.origin_message_id) <= 255
    assert set(state.ignored) <= set(OWN_HEADERS)
    theirs = {name for name in delivery.headers if name.startswith(("x-first-death-", "x-last-death-"))}
    assert set(state.foreign) == set(delivery.headers) - set(OWN_HEADERS) - set(BROKER_HEADERS) - theirs
    for moment in (state.first_failed_at, state.not_before):
        assert moment is None or datetime.fromtimestamp(moment / 1000, UTC).year <= 9999
    for identifier in (state.dead_letter_id, state.replay_id):
        assert identifier is None or str(uuid.UUID(identifier)) == identifier


@given(deliveries, outcomes, st.none() | order_ids)
def test_what_goes_out_can_be_sent_and_stored_and_says_the_same_when_it_comes_back(
    delivery: Delivery, outcome: Retry | Defer | DeadLetter, order_id: str | None
) -> None:
    before = MessageState.read(delivery, order_id=order_id)
    headers = before.headers_after(outcome, now=NOW, body=delivery.body, order_id=order_id)
    assert not set(headers) & set(BROKER_HEADERS)
    assert {name: headers[name] for name in before.foreign} == before.foreign
    bson.encode(safe_value(headers))
    wire = encoded_table(fitting_headers(headers))
    assert len(wire) < FRAME
    _, returned = decode.field_table(wire)
    again = MessageState.read(Delivery(delivery.body, returned, routing_key="orders.work"), order_id=order_id)
    assert again.ignored == ()
    assert again.trace == before.trace
    assert (again.attempt, again.deferrals) == (headers["attempt"], headers["deferrals"])
    assert again.origin_message_id == before.origin_message_id
    assert again.replay_id == before.replay_id
    assert again.first_failed_at == headers.get("first_failed_at")


@given(st.dictionaries(st.text(max_size=40), header_values, max_size=5), st.integers(0, 200_000))
def test_headers_too_large_for_a_frame_lose_a_publisher_s_and_never_ours(foreign: dict[str, object], size: int) -> None:
    state = state_of({**foreign, "x-large": "é" * size, "x-larger": "a" * size})
    headers = after(state, Retry("5s", UNKNOWN, NOW))
    sent = fitting_headers(headers)
    assert len(encoded_table(sent)) < FRAME
    ours = set(OWN_HEADERS) & set(headers)
    assert {name: sent[name] for name in ours} == {name: headers[name] for name in ours}


@pytest.mark.parametrize(
    ("outcome", "attempt", "deferrals"),
    [
        (Retry("5s", UNKNOWN, NOW), 3, 5),
        (Defer("5s", OPEN, NOW), 2, 6),
        (Defer("5s", StoreUnavailableError("away"), NOW), 2, 6),
        (Defer("5s", None, NOW), 2, 5),
        (DeadLetter(DeadLetterReason.ATTEMPTS_EXHAUSTED, UNKNOWN), 3, 5),
        (DeadLetter(DeadLetterReason.SUPPLIER_REJECTED, SupplierRejectedError("no")), 3, 5),
        (DeadLetter(DeadLetterReason.MALFORMED, MalformedOrderError("no")), 2, 5),
        (DeadLetter(DeadLetterReason.EXPIRED, OPEN), 2, 5),
    ],
)
def test_only_failed_tries_count_as_attempts_and_only_refusals_as_deferrals(
    outcome: Retry | Defer | DeadLetter, attempt: int, deferrals: int
) -> None:
    headers = after(state_of({"attempt": 2, "deferrals": 5}), outcome)
    assert (headers["attempt"], headers["deferrals"]) == (attempt, deferrals)


def test_the_first_failure_s_time_is_kept_from_then_on() -> None:
    first = after(state_of({}), Retry("5s", UNKNOWN, NOW))
    assert first["first_failed_at"] == NOW
    assert after(state_of({"first_failed_at": 7}), Defer("5s", OPEN, NOW))["first_failed_at"] == 7
    assert "first_failed_at" not in after(state_of({}), Defer("5s", None, NOW))


@pytest.mark.parametrize("name", ["attempt", "deferrals", "first_failed_at", "not_before"])
@pytest.mark.parametrize("value", ["3", True, -1, 1.5, 2**62, b"3", [3], {"n": 3}])
def test_a_number_that_makes_no_sense_counts_as_absent_and_is_named(name: str, value: object) -> None:
    state = state_of({name: value})
    assert (state.attempt, state.deferrals, state.first_failed_at, state.not_before) == (0, 0, None, None)
    assert state.ignored == (name,)


def test_where_a_message_came_from_is_remembered_on_its_way_round() -> None:
    state = state_of({}, exchange="orders", routing_key="order.placed.eu", message_id="m-1")
    headers = after(state, Retry("5s", UNKNOWN, NOW))
    back = state_of(headers, exchange="", routing_key="orders.work", message_id="m-2")
    assert (back.origin_exchange, back.origin_routing_key) == ("orders", "order.placed.eu")
    assert back.origin_message_id == "m-1"


def test_the_error_goes_along_and_a_dead_letter_says_why() -> None:
    headers = after(state_of({}), DeadLetter(DeadLetterReason.EXPIRED, OPEN))
    assert headers["dead_letter_reason"] == "expired"
    assert headers["error_type"] == "CircuitBreakerOpenException"
    assert headers["error_message"] == "CircuitBreakerOpenException: circuit open; next try possible in 3.0 s"
    assert "not_before" not in headers


def test_copies_of_an_order_are_one_dead_letter_and_unreadable_messages_one_each() -> None:
    def letter_id(order_id: str | None, body: bytes, message_id: str) -> str:
        return dead_letter_id_for(order_id=order_id, body=body, message_id=message_id)

    assert letter_id("A-1", b"{}", "m-1") == letter_id("A-1", b"{}", "m-2")
    assert letter_id(None, b"{}", "m-1") == letter_id(None, b"{}", "m-1")
    different = [("A-1", b"{}", "m"), ("A-2", b"{}", "m"), ("A-1", b"{ }", "m"), (None, b"{}", "m"), (None, b"{}", "n")]
    assert len({letter_id(*which) for which in different}) == len(different)


def test_a_notice_sent_twice_is_one_dead_letter_and_never_that_of_an_order() -> None:
    def letter_id(body: bytes, message_id: str, *, malformed: bool = False, order_id: str | None = None) -> str:
        return dead_letter_id_for(
            order_id=order_id, body=body, message_id=message_id, is_notice=True, is_malformed=malformed
        )

    assert letter_id(b"{}", "m-1") == letter_id(b"{}", "m-2", order_id="A-1")
    assert letter_id(b"{}", "m-1", malformed=True) != letter_id(b"{}", "m-2", malformed=True)
    of_orders = [
        dead_letter_id_for(order_id=order_id, body=b"{}", message_id="m-1", is_malformed=malformed)
        for order_id in (None, "A-1")
        for malformed in (True, False)
    ]
    assert not {letter_id(b"{}", "m-1"), letter_id(b"{}", "m-1", malformed=True)} & set(of_orders)


@pytest.mark.parametrize(
    ("headers", "untried"),
    [
        ({"attempt": 0, "deferrals": 0}, True),
        ({"deferrals": 3}, True),
        ({"attempt": 1}, False),
        ({"dead_letter_id": "nonsense"}, False),
        ({"replay_id": None}, False),
    ],
)
def test_a_replay_s_copy_is_untried_until_its_first_failed_try(headers: dict[str, object], untried: bool) -> None:
    ids = (str(uuid.uuid4()), str(uuid.uuid4()))
    state = state_of({"dead_letter_id": ids[0], "replay_id": ids[1], **headers})
    assert state.untried_replay == (ids if untried else None)


def test_a_replayed_message_keeps_the_letter_it_belongs_to() -> None:
    mine = str(uuid.uuid4())
    headers = after(state_of({"dead_letter_id": mine}), DeadLetter(DeadLetterReason.SUPPLIER_REJECTED, UNKNOWN))
    assert headers["dead_letter_id"] == mine
    fresh = after(state_of({}, message_id="m"), DeadLetter(DeadLetterReason.SUPPLIER_REJECTED, UNKNOWN))
    assert fresh["dead_letter_id"] == dead_letter_id_for(order_id="A-1", body=b"{}", message_id="m")


def test_times_are_whole_milliseconds() -> None:
    assert to_milliseconds(datetime(2026, 3, 1, 12, 0, 0, 1999, tzinfo=UTC)) == NOW + 1


@pytest.mark.parametrize(
    ("headers", "published"),
    [
        ({"published_at": NOW}, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ({"published_at": NOW, "replay_id": str(uuid.uuid4())}, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ({"published_at": "yesterday"}, datetime(2026, 3, 2, tzinfo=UTC)),
        ({}, datetime(2026, 3, 2, tzinfo=UTC)),
        ({"replay_id": str(uuid.uuid4())}, None),
    ],
)
def test_an_order_was_published_when_its_publisher_first_did(
    headers: dict[str, object], published: datetime | None
) -> None:
    assert state_of(headers, published_at=datetime(2026, 3, 2, tzinfo=UTC)).published_at == published
