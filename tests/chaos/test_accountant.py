"""The accountant catches what is planted, and finds nothing where nothing is wrong."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.accountant import Evidence, OpenLetter, Queued, Request, Stored, Wrong, account

ORDERS = {name: f"trace-{name}" for name in ("a", "b", "c", "d")}


def shipped(order: str, *, trace_id: str | None = None) -> Stored:
    return Stored(order, "SHIPPED", trace_id or f"trace-{order}", 0, (), 0)


SOUND = Evidence(
    confirmed={name: ORDERS[name] for name in ("a", "b", "c")},
    attempted={"d": ORDERS["d"]},
    queued=[Queued("orders.work", "b", "trace-b"), Queued("orders.retry.1s", "b", "trace-b")],
    stored=[
        shipped("a"),
        Stored("b", "PENDING", "trace-b", 1, ("HTTP 500",), 1),
        Stored("c", "FAILED", "trace-c", 2, ("x", "y"), 2),
    ],
    letters=[OpenLetter("c", "trace-c", "attempts_exhausted")],
    requests=[Request(name, f"trace-{name}") for name in ("a", "a", "b", "c")],
    dispatches={"a": 1},
)


def wrong(evidence: Evidence) -> list[tuple[Wrong, str]]:
    return [(finding.what, finding.order_id) for finding in account(evidence).findings]


def test_where_nothing_is_wrong_nothing_is_found_and_the_counts_are_right() -> None:
    found = account(SOUND)
    assert wrong(SOUND) == []
    assert (found.shipped, found.open_letters, found.queued, found.duplicates_absorbed) == (1, 1, 2, 1)


@pytest.mark.parametrize("place", ["stored", "queued", "letters"])
def test_a_planted_loss_is_caught_wherever_the_order_was(place: str) -> None:
    order = {"stored": "a", "queued": "b", "letters": "c"}[place]
    kept = [each for each in getattr(SOUND, place) if each.order_id != order]
    changes: dict[str, Any] = {place: kept}
    assert (Wrong.LOST, order) in wrong(replace(SOUND, **changes))


def test_an_order_that_was_never_confirmed_may_be_missing() -> None:
    assert "d" not in {order for _, order in wrong(SOUND)}


def test_a_failed_shipment_without_a_dead_letter_is_a_loss() -> None:
    assert (Wrong.LOST, "c") in wrong(replace(SOUND, letters=[]))


def test_a_planted_double_dispatch_is_caught() -> None:
    assert (Wrong.DISPATCHED_TWICE, "a") in wrong(replace(SOUND, dispatches={"a": 2}))


@pytest.mark.parametrize(
    "evidence",
    [
        replace(SOUND, stored=[*SOUND.stored, shipped("e")], dispatches={"a": 1, "e": 1}),
        replace(SOUND, queued=[*SOUND.queued, Queued("orders.dlq", "e", None)]),
        replace(SOUND, letters=[*SOUND.letters, OpenLetter("e", "t", "malformed")]),
    ],
    ids=["shipped", "queued", "dead letter"],
)
def test_a_planted_orphan_is_caught(evidence: Evidence) -> None:
    assert (Wrong.ORPHAN, "e") in wrong(evidence)


@pytest.mark.parametrize(
    "evidence",
    [
        replace(SOUND, letters=[*SOUND.letters, OpenLetter("a", "trace-a", "expired")]),
        replace(SOUND, letters=[*SOUND.letters, *SOUND.letters]),
        replace(SOUND, queued=[*SOUND.queued, Queued("orders.work", "c", "trace-c")]),
    ],
    ids=["shipped and dead", "two letters", "queued and dead"],
)
def test_an_order_in_two_places_is_caught(evidence: Evidence) -> None:
    assert Wrong.IN_TWO_PLACES in {what for what, _ in wrong(evidence)}


def test_what_the_supplier_and_the_store_do_not_agree_on_is_caught() -> None:
    assert (Wrong.NEVER_DISPATCHED, "a") in wrong(replace(SOUND, dispatches={}))
    assert (Wrong.NOT_NOTED, "d") in wrong(replace(SOUND, dispatches={"a": 1, "d": 1}))


@pytest.mark.parametrize(
    "evidence",
    [
        replace(SOUND, stored=[shipped("a", trace_id="other"), *SOUND.stored[1:]]),
        replace(SOUND, queued=[Queued("orders.work", "b", None)]),
        replace(SOUND, letters=[OpenLetter("c", "other", "expired")]),
        replace(SOUND, requests=[Request("a", None)]),
    ],
    ids=["document", "headers", "dead letter", "supplier call"],
)
def test_a_trace_that_broke_is_caught_wherever_it_broke(evidence: Evidence) -> None:
    assert {what for what, _ in wrong(evidence)} == {Wrong.BROKEN_TRACE}


def test_a_retry_without_a_reason_and_one_that_was_not_counted_are_caught() -> None:
    nameless = replace(SOUND.stored[1], reasons=(None,))
    uncounted = replace(SOUND.stored[2], retry_count=3)
    found = wrong(replace(SOUND, stored=[SOUND.stored[0], nameless, uncounted]))
    assert set(found) == {(Wrong.RETRY_WITHOUT_REASON, "b"), (Wrong.WRONG_COUNT, "c")}
