"""Periods of 10 s: every order counted is in exactly one."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.counts import Tally
from worker.domain.delivery import Delivery
from worker.domain.outcome import Ack
from worker.domain.periods import Period, Periods
from worker.domain.samples import end_of_period

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Worker:
    """A worker that ships and reports."""

    def __init__(self, *, started: float = 1) -> None:
        self.tally = Tally()
        self.periods = Periods(self.tally, now=at(started))

    def ship(self, orders: int) -> None:
        for _ in range(orders):
            self.tally.settled(Delivery(b"{}"), Ack("shipped"), now=START)

    def report(self, seconds: float, *, is_last: bool = False) -> list[tuple[float, int]]:
        """When each closed period ended, and how many were shipped in it."""
        closed = self.periods.look(in_flight=7, now=at(seconds), is_last=is_last)
        return [((period.at - START).total_seconds(), period.counts.shipped) for period in closed]


@pytest.mark.parametrize(("now", "end"), [(0, 10), (0.001, 10), (9.999, 10), (10, 20)])
def test_a_period_ends_at_the_next_multiple_of_ten_seconds(now: float, end: float) -> None:
    assert end_of_period(at(now)) == at(end)


def test_a_period_is_closed_when_its_time_is_over() -> None:
    worker = Worker()
    worker.ship(3)
    assert worker.report(9.9) == []
    worker.ship(2)
    assert worker.report(10) == [(10, 5)]
    worker.ship(4)
    assert worker.report(12) == [(10, 5)]
    assert worker.report(20) == [(10, 5), (20, 4)]


def test_the_last_two_are_told_so_that_one_who_comes_late_finds_them() -> None:
    worker = Worker()
    for seconds in (10, 20, 30):
        worker.ship(seconds)
        told = worker.report(seconds)
    assert told == [(20, 20), (30, 30)]


def test_a_worker_that_was_held_up_puts_everything_into_the_period_that_ended_last() -> None:
    worker = Worker()
    worker.ship(6)
    assert worker.report(47) == [(40, 6)]
    worker.ship(1)
    assert worker.report(50) == [(40, 6), (50, 1)]


def test_a_worker_that_stops_closes_the_period_under_way_and_keeps_the_one_before() -> None:
    worker = Worker()
    worker.ship(5)
    assert worker.report(10) == [(10, 5)]
    worker.ship(2)
    assert worker.report(11, is_last=True) == [(10, 5), (20, 2)]


def test_what_was_counted_before_a_period_began_is_not_in_it() -> None:
    tally = Tally()
    tally.settled(Delivery(b"{}"), Ack("shipped"), now=START)
    periods = Periods(tally, now=START)
    assert [period.counts.shipped for period in periods.look(in_flight=0, now=at(10))] == [0]


def test_a_clock_set_back_counts_nothing_twice() -> None:
    worker = Worker(started=101)
    worker.ship(5)
    assert worker.report(50) == []
    assert worker.report(60) == [(60, 5)]


def test_a_period_survives_the_store() -> None:
    worker = Worker()
    worker.ship(2)
    (period,) = worker.periods.look(in_flight=7, now=at(10))
    assert Period.from_document(period.document()) == period
    assert period.in_flight == 7
