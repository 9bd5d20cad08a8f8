"""Rates from what workers report: through restarts, deaths, stops and clocks that differ."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.rabbitmq.depths import QueueLook
from worker.domain.counts import Counts
from worker.domain.percentiles import step_of
from worker.rates import Meter, Rates, orders_held

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_report(
    name: str = "w-1", *, seen: float, started: float = -3600, in_flight: int = 0, **counts: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "seen_at": at(seen),
        "started_at": at(started),
        "in_flight": {"orders.work": in_flight, "orders.dlq": 7},
        "counts": Counts(**counts).document(),
    }


Reports = Callable[[float], list[dict[str, Any]]]


def watched(reports: Reports, *, seconds: int, held: Callable[[int], int] = lambda _: 0) -> Rates:
    """Look every second, at workers that report every two; return the rates at the end."""
    meter = Meter()
    for second in range(seconds + 1):
        meter.note_queues({"orders.work": QueueLook(held(second), 1)}, now=at(second))
        meter.note_reports(reports(second - second % 2), now=at(second))
    return meter.rates(now=at(seconds))


def test_orders_shipped_per_second_are_those_of_the_last_ten_seconds() -> None:
    rates = watched(
        lambda t: [a_report(seen=t, shipped=int(5 * t) if t < 30 else int(150 + 20 * (t - 30)))], seconds=60
    )
    assert rates.shipped == pytest.approx(20)
    assert rates.published == pytest.approx(20)
    assert (rates.retried, rates.deferred, rates.failed) == (0, 0, 0)


def test_the_workers_rates_add_up() -> None:
    rates = watched(
        lambda t: [a_report("w-1", seen=t, failed=int(2 * t)), a_report("w-2", seen=t, failed=int(3 * t))], seconds=20
    )
    assert rates.failed == pytest.approx(5)


def test_after_the_first_look_nothing_is_known_yet() -> None:
    assert watched(lambda t: [a_report(seen=t, shipped=1000)], seconds=1) == Rates()


def test_a_worker_that_begins_again_is_no_negative_rate_and_what_it_counted_meanwhile_is_counted() -> None:
    def restarted(t: float) -> list[dict[str, Any]]:
        return [a_report(seen=t, shipped=int(1000 + 10 * t)) if t < 20 else a_report(seen=t, started=19, shipped=50)]

    rates = watched(restarted, seconds=21)
    assert rates.shipped is not None
    assert rates.shipped > 0
    assert watched(restarted, seconds=40).shipped == 0


def test_a_worker_that_comes_while_we_watch_began_with_nothing() -> None:
    def joined(t: float) -> list[dict[str, Any]]:
        first = a_report("w-1", seen=t)
        return [first] if t < 10 else [first, a_report("w-2", seen=t, started=9, shipped=int(30 * (t - 9)))]

    assert watched(joined, seconds=12).shipped == pytest.approx(30)


@pytest.mark.parametrize("words", [{"stopped": True}, {}], ids=["stopped", "dead"])
def test_a_worker_that_reports_no_more_ships_no_more(words: dict[str, Any]) -> None:
    def last_words(t: float) -> list[dict[str, Any]]:
        t = min(t, 20)
        return [{**a_report(seen=t, shipped=int(10 * t)), **words}]

    assert watched(last_words, seconds=20).shipped == pytest.approx(10)
    assert watched(last_words, seconds=40).shipped == 0


def test_without_any_worker_nothing_is_shipped() -> None:
    assert watched(lambda _: [], seconds=5).shipped == 0


def test_reports_of_an_earlier_version_count_nothing() -> None:
    report = a_report(seen=0)
    del report["counts"]
    assert watched(lambda _: [report], seconds=5).shipped == 0


def test_what_gathers_in_the_queue_has_been_published() -> None:
    rates = watched(lambda t: [a_report(seen=t, shipped=int(5 * t))], seconds=30, held=lambda second: 20 * second)
    assert rates.published == pytest.approx(25)


def test_a_backlog_that_is_shipped_is_not_published_again() -> None:
    rates = watched(
        lambda t: [a_report(seen=t, shipped=int(50 * t), in_flight=100)],
        seconds=30,
        held=lambda second: 10_000 - 50 * second,
    )
    assert rates.published == pytest.approx(0, abs=0.01)
    assert rates.shipped == pytest.approx(50)


@pytest.mark.parametrize("seconds", range(24, 45))
def test_nothing_is_published_while_a_backlog_begins_to_be_shipped_and_ends(seconds: int) -> None:
    def shipped(t: float) -> int:
        return min(max(int(100 * (t - 25)), 0), 1200)

    rates = watched(
        lambda t: [a_report(seen=t, shipped=shipped(t))], seconds=seconds, held=lambda second: 1200 - shipped(second)
    )
    assert rates.published == pytest.approx(0, abs=0.01)


def test_what_workers_take_in_hand_has_been_published_and_what_goes_round_has_not() -> None:
    rates = watched(lambda t: [a_report(seen=t, in_flight=int(4 * t), retried=int(9 * t))], seconds=20)
    assert rates.published == pytest.approx(4)
    assert rates.retried == pytest.approx(9)


def test_what_the_queues_hold_is_unknown_without_the_broker_and_so_is_what_was_published() -> None:
    meter = Meter()
    for second in (0, 2, 4):
        meter.note_reports([a_report(seen=second, shipped=second)], now=at(second))
    rates = meter.rates(now=at(4))
    assert rates.published is None
    assert rates.shipped == pytest.approx(1)


def test_a_worker_s_clock_may_be_an_hour_off() -> None:
    assert watched(lambda t: [a_report(seen=t - 3600, started=-9000, shipped=int(8 * t))], seconds=30).shipped == (
        pytest.approx(8)
    )


def test_a_clock_set_back_is_no_negative_rate() -> None:
    def set_back(t: float) -> list[dict[str, Any]]:
        return [a_report(seen=t if t < 10 else t - 60, shipped=int(10 * t))]

    for seconds in range(9, 40):
        assert (watched(set_back, seconds=seconds).shipped or 0) >= 0


def test_times_to_shipped_are_those_of_the_last_minute() -> None:
    def quicker(t: float) -> list[dict[str, Any]]:
        times = {step_of(30.0): int(min(t, 60)), step_of(0.1): int(max(t - 60, 0))}
        return [a_report(seen=t, shipped=int(t), times=times)]

    slow, quick = watched(quicker, seconds=60), watched(quicker, seconds=122)
    assert slow.to_shipped_p50 == pytest.approx(30, rel=0.3)
    assert quick.to_shipped_p95 == pytest.approx(0.1, rel=0.3)
    assert watched(lambda t: [a_report(seen=t)], seconds=9).to_shipped_p50 is None


def test_orders_are_held_by_the_work_queue_and_the_delay_queues_of_orders_alone() -> None:
    looks = {
        "orders.work": QueueLook(1, 1),
        "orders.retry.1s": QueueLook(20, 0),
        "orders.retry.5s": None,
        "orders.dlq": QueueLook(300, 1),
        "shipments.delivered": QueueLook(4000, 1),
        "shipments.retry.1s": QueueLook(50000, 0),
    }
    assert orders_held(looks) == 21
