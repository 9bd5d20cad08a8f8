"""What a worker counts of the orders it settles."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.counts import Counts, Tally, published_at
from worker.domain.delivery import Delivery, to_milliseconds
from worker.domain.errors import SupplierUnavailableError
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.percentiles import percentile

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ERROR = SupplierUnavailableError("HTTP 503")
AN_ORDER = Delivery(b"{}")


def settled(*outcomes: Outcome, delivery: Delivery = AN_ORDER) -> Counts:
    tally = Tally()
    for outcome in outcomes:
        tally.settled(delivery, outcome, now=NOW)
    return tally.counts


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Ack("shipped"), Counts(shipped=1)),
        (Ack("duplicate"), Counts(duplicates=1)),
        (Retry("1s", ERROR, 0), Counts(retried=1)),
        (Defer("1s", ERROR, 0), Counts(deferred=1)),
        (Defer("1s", None, 0), Counts()),
        (DeadLetter(DeadLetterReason.MALFORMED, ERROR), Counts(failed=1)),
    ],
)
def test_each_outcome_is_counted_as_what_became_of_the_order(outcome: Outcome, counted: Counts) -> None:
    assert settled(outcome) == counted


def test_what_is_shipped_a_duplicate_or_a_dead_letter_has_left_the_queues() -> None:
    outcomes = (Ack("shipped"), Ack("duplicate"), DeadLetter(DeadLetterReason.EXPIRED, ERROR), Retry("1s", ERROR, 0))
    assert settled(*outcomes).left == 3


def test_the_time_to_shipped_is_taken_from_the_publisher_s_header_else_from_its_timestamp() -> None:
    a_minute_ago = NOW - timedelta(minutes=1)
    by_header = Delivery(b"{}", {"published_at": to_milliseconds(NOW) - 20}, published_at=a_minute_ago)
    p50 = percentile(settled(Ack("shipped"), delivery=by_header).times, 0.5)
    assert p50 == pytest.approx(0.02, rel=0.3)
    p50 = percentile(settled(Ack("shipped"), delivery=Delivery(b"{}", published_at=a_minute_ago)).times, 0.5)
    assert p50 == pytest.approx(60, rel=0.3)


def test_a_replayed_order_counts_from_its_replay_on() -> None:
    replayed = Delivery(b"{}", {"published_at": 1, "replay_id": "r-1"}, published_at=NOW)
    assert published_at(replayed) == to_milliseconds(NOW)


@pytest.mark.parametrize("header", ["2026-03-01", -1, True, 1.5, None, 10**30])
def test_a_header_that_is_no_time_is_no_time(header: object) -> None:
    assert published_at(Delivery(b"{}", {"published_at": header})) is None


def test_what_has_no_time_is_counted_without_one() -> None:
    assert settled(Ack("shipped")).times == {}


def test_counts_survive_the_store_and_tell_what_came_since() -> None:
    delivery = Delivery(b"{}", published_at=NOW - timedelta(seconds=3))
    before = settled(Ack("shipped"), delivery=delivery)
    after = settled(Ack("shipped"), Ack("shipped"), Retry("1s", ERROR, 0), delivery=delivery)
    assert Counts.from_document(after.document()) == after
    grown = after.since(before)
    assert (grown.shipped, grown.retried, sum(grown.times.values())) == (1, 1, 1)
    assert before + grown == after
    assert Counts.from_document({}) == Counts()
