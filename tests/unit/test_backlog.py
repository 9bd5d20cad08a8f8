"""Since when the oldest waiting order can have been waiting."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.backlog import Backlog
from worker.domain.delivery import Delivery

NOW = datetime.now(UTC)
EARLIER, LATER = NOW - timedelta(hours=2), NOW - timedelta(hours=1)


def an_order(published_at: datetime | None, *, redelivered: bool = False, **headers: object) -> Delivery:
    return Delivery(b"{}", headers, redelivered=redelivered, published_at=published_at)


def test_at_first_nothing_is_known() -> None:
    assert Backlog().waiting_since is None


def test_what_waits_was_published_after_the_order_taken_last() -> None:
    backlog = Backlog()
    backlog.taken(an_order(EARLIER))
    assert backlog.waiting_since == EARLIER
    backlog.taken(an_order(LATER))
    assert backlog.waiting_since == LATER


def test_an_order_published_earlier_does_not_turn_the_time_back() -> None:
    backlog = Backlog()
    backlog.taken(an_order(LATER))
    backlog.taken(an_order(EARLIER))
    assert backlog.waiting_since == LATER


@pytest.mark.parametrize(
    "silent",
    [
        an_order(None),
        an_order(LATER, redelivered=True),
        an_order(LATER, attempt=1),
        an_order(LATER, attempt=0, deferrals=3),
    ],
    ids=["no timestamp", "redelivered", "retried", "deferred"],
)
def test_an_order_that_did_not_come_straight_from_its_publisher_says_nothing(silent: Delivery) -> None:
    backlog = Backlog()
    backlog.taken(silent)
    assert backlog.waiting_since is None


def test_a_publisher_s_clock_that_is_ahead_is_not_believed() -> None:
    backlog = Backlog()
    backlog.taken(an_order(NOW + timedelta(days=1)))
    assert backlog.waiting_since is not None
    assert NOW <= backlog.waiting_since <= datetime.now(UTC)


def test_an_empty_queue_means_that_nothing_has_been_waiting() -> None:
    backlog = Backlog()
    backlog.seen(0, now=LATER)
    assert backlog.waiting_since == LATER
    backlog.seen(0, now=EARLIER)
    assert backlog.waiting_since == LATER


@pytest.mark.parametrize("depth", [None, 1, 5000])
def test_a_queue_that_is_not_empty_or_not_seen_says_nothing(depth: int | None) -> None:
    backlog = Backlog()
    backlog.seen(depth, now=LATER)
    assert backlog.waiting_since is None


def test_its_age_counts_from_that_moment_and_is_unknown_without_one() -> None:
    backlog = Backlog()
    assert backlog.age(now=NOW) is None
    backlog.taken(an_order(LATER))
    assert backlog.age(now=NOW) == 3600.0
    assert backlog.age(now=EARLIER) == 0.0
