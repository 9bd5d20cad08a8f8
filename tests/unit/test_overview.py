"""The overview: put together from what broker and store said, and said in words."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.rabbitmq.depths import QueueLook
from worker.domain.controls import NO_WISHES, ControlAction, Wish, Wishes
from worker.overview_picture import Looks, Overview, ReplayView, StoreLook, assemble
from worker.overview_problems import problems
from worker.overview_words import circuit_in_words, oldest_in_words, span
from worker.problem import sentences

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
IDLE = QueueLook(ready=0, consumers=1)


def a_report(name: str = "w-1", *, age: float = 1.0, **fields: Any) -> dict[str, Any]:
    seen_at = NOW - timedelta(seconds=age)
    made: dict[str, Any] = {
        "name": name,
        "seen_at": seen_at,
        "started_at": seen_at - timedelta(minutes=5),
        "version": "0.1.0",
        "circuit": "closed",
        "circuit_retry_after": 0.0,
        "last_failure": None,
        "intake_limit": 100,
        "in_flight": {"orders.work": 2, "shipments.delivered": 3, "orders.dlq": 1},
        "connected": True,
        "waiting_since": None,
    }
    return {**made, **fields}


def the_looks(
    *, work: QueueLook | None = IDLE, notices: QueueLook | None = IDLE, dlq: QueueLook | None = IDLE
) -> Looks:
    return {
        "orders.work": work,
        "shipments.delivered": notices,
        "orders.dlq": dlq,
        "orders.retry.1s": QueueLook(4, 0),
        "orders.retry.5s": QueueLook(0, 0),
        "shipments.retry.1s": QueueLook(0, 0),
        "shipments.retry.5s": QueueLook(6, 0),
    }


def the_store(*reports: dict[str, Any], **fields: Any) -> StoreLook:
    made: dict[str, Any] = {"shipments": {"SHIPPED": 7}, "open_by_reason": {}, "by_state": {}}
    return StoreLook(reports=reports, **{**made, **fields})


def overview(broker: Looks | str | None = None, store: StoreLook | str | None = None) -> Overview:
    looks = the_looks() if broker is None else broker
    return assemble(looks, the_store(a_report()) if store is None else store, delays=["1s", "5s"], now=NOW)


def told_in(seen: Overview) -> list[str]:
    return sentences(problems(seen), now=seen.taken_at)


def the_oldest(*reports: dict[str, Any], ready: int = 3) -> str:
    seen = overview(the_looks(work=QueueLook(ready, 1)), the_store(*reports))
    return oldest_in_words(seen.oldest_waiting)


def test_nothing_is_wrong_when_all_is_well() -> None:
    seen = overview()
    assert told_in(seen) == []
    assert (seen.delayed, seen.delayed_notices) == ({"1s": 4, "5s": 0}, {"1s": 0, "5s": 6})
    assert seen.unreachable == {}


def test_unacknowledged_is_the_sum_of_what_live_workers_report() -> None:
    seen = overview(store=the_store(a_report("a"), a_report("b"), a_report("gone", age=60)))
    assert [queue.unacknowledged for queue in seen.queues] == [4, 6, 2]


def test_a_worker_is_lost_after_fifteen_seconds_and_a_stopped_one_is_left_out() -> None:
    seen = overview(
        store=the_store(a_report("b"), a_report("late", age=15), a_report("lost", age=16), a_report("s", stopped=True))
    )
    assert seen.workers is not None
    assert [(worker.name, worker.lost) for worker in seen.workers] == [("b", False), ("late", False), ("lost", True)]
    assert told_in(seen) == ["1 worker lost: lost was last seen 16 s ago"]


def test_of_several_lost_workers_the_one_seen_last_is_named() -> None:
    seen = overview(store=the_store(a_report("live"), a_report("old", age=900), a_report("new", age=65)))
    assert told_in(seen) == ["2 workers lost: new was last seen 1 min 5 s ago, the others before"]


def test_a_report_from_a_clock_that_is_ahead_is_no_negative_age() -> None:
    seen = overview(store=the_store(a_report(age=-30.0)))
    assert seen.workers is not None
    assert seen.workers[0].seen_ago == 0.0


def test_the_countdown_of_a_circuit_goes_on_since_the_report() -> None:
    opened = a_report(
        age=1.5,
        circuit="open",
        circuit_retry_after=5.0,
        circuit_open_for=38.5,
        last_failure="HTTP 503: down for repairs",
    )
    seen = overview(store=the_store(opened, a_report("other")))
    assert seen.workers is not None
    assert seen.workers[-1].circuit_retry_after == 3.5
    assert circuit_in_words(seen.workers[-1]) == "open, next try in 4 s"
    assert told_in(seen) == [
        "circuit open for 40 s on 1 of 2 workers: supplier answers HTTP 503: down for repairs; next try in 4 s"
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"circuit": "open", "last_failure": "no answer within 10 s"},
            "circuit open on 1 of 1 worker: supplier: no answer within 10 s; next try with the next order",
        ),
        (
            {"circuit": "half_open", "last_failure": None},
            "circuit open on 1 of 1 worker: the supplier fails; an order is trying it now",
        ),
    ],
)
def test_an_open_circuit_says_why_and_when_it_is_tried(fields: dict[str, Any], sentence: str) -> None:
    assert told_in(overview(store=the_store(a_report(**fields)))) == [sentence]


def test_a_worker_that_takes_no_orders_does_not_count_among_the_circuits() -> None:
    files_only = a_report("files", in_flight={"orders.dlq": 0})
    opened = a_report("ships", circuit="open", circuit_retry_after=3.0, last_failure="HTTP 500: (empty answer)")
    assert "on 1 of 1 worker" in told_in(overview(store=the_store(files_only, opened)))[0]


def test_a_queue_without_a_consumer_is_told_with_what_waits_in_it() -> None:
    looks = the_looks(work=QueueLook(1, 0), notices=QueueLook(2, 0), dlq=QueueLook(0, 0))
    assert told_in(overview(looks, the_store())) == [
        "no consumer on orders.work: 1 message waiting; 'logistics worker' is one",
        "no consumer on shipments.delivered: 2 messages waiting; 'logistics worker' is one",
        "no consumer on orders.dlq; 'logistics worker' is one",
    ]


def test_while_the_store_is_away_no_worker_is_asked_for_since_those_there_are_pause_for_it() -> None:
    told = told_in(overview(the_looks(work=QueueLook(3, 0)), "MongoDB does not answer"))
    assert told[0] == "MongoDB does not answer"
    assert told[1:] == [
        "no consumer on orders.work: 3 messages waiting (which workers there are is not known, and they pause while "
        "MongoDB does not answer)"
    ]


def test_no_consumer_while_the_circuit_is_open_is_how_it_should_be() -> None:
    opened = a_report(circuit="open", circuit_retry_after=9.0, last_failure="HTTP 503: x", intake_limit=0)
    told = told_in(overview(the_looks(work=QueueLook(9, 0)), the_store(opened)))
    assert [sentence.partition(":")[0] for sentence in told] == ["circuit open on 1 of 1 worker"]


def test_an_open_circuit_is_no_reason_for_delivery_notices_to_wait() -> None:
    opened = a_report(circuit="open", circuit_retry_after=9.0, last_failure="HTTP 503: x", intake_limit=0)
    told = told_in(overview(the_looks(work=QueueLook(9, 0), notices=QueueLook(2, 0)), the_store(opened)))
    assert told[0] == "no consumer on shipments.delivered, though 1 worker for it: connecting, or paused"
    assert told[1].startswith("circuit open on 1 of 1 worker: ")


def test_a_worker_of_delivery_notices_alone_does_not_count_among_the_circuits() -> None:
    notices_only = a_report("notices", in_flight={"shipments.delivered": 0}, circuit="open", circuit_retry_after=3.0)
    assert told_in(overview(store=the_store(notices_only))) == []


def test_no_consumer_although_a_worker_runs_is_told_as_such() -> None:
    told = told_in(overview(the_looks(work=QueueLook(9, 0))))
    assert told == ["no consumer on orders.work, though 1 worker for it: connecting, or paused"]


def test_missing_queues_are_told_in_one_line() -> None:
    told = told_in(overview({**the_looks(work=None), "orders.retry.5s": None}, the_store()))
    assert told == [
        "2 queues (orders.work, orders.retry.5s) do not exist: 'logistics topology declare' creates what is missing, "
        "as every worker does"
    ]


def test_missing_queues_of_delivery_notices_are_told_too() -> None:
    told = told_in(overview({**the_looks(notices=None), "shipments.retry.1s": None}))
    assert told[0].startswith("2 queues (shipments.delivered, shipments.retry.1s) do not exist: ")


def test_a_worker_without_its_broker_is_told() -> None:
    assert told_in(overview(store=the_store(a_report(connected=False)))) == ["not connected to RabbitMQ: w-1"]


def test_a_worker_that_has_just_started_may_be_connecting() -> None:
    started_at = NOW - timedelta(seconds=4)
    assert told_in(overview(store=the_store(a_report(connected=False, started_at=started_at)))) == []


def test_open_dead_letters_are_told_by_reason_the_most_frequent_first() -> None:
    store = the_store(a_report(), open_by_reason={"expired": 1, "malformed": 2}, by_state={"open": 3, "resolved": 9})
    assert told_in(overview(store=store)) == ["3 dead letters open: malformed 2, expired 1"]


def test_without_the_broker_the_store_is_still_shown() -> None:
    seen = overview("RabbitMQ is not reachable: refused", the_store(a_report()))
    assert told_in(seen) == ["RabbitMQ is not reachable: refused"]
    assert (seen.delayed, seen.delayed_notices) == (None, None)
    assert [(queue.exists, queue.ready, queue.consumers) for queue in seen.queues] == [(None, None, None)] * 3
    assert seen.shipments == {"SHIPPED": 7}
    assert oldest_in_words(seen.oldest_waiting) == "unknown (RabbitMQ is not reachable)"


def test_without_the_store_the_queues_are_still_shown() -> None:
    seen = overview(the_looks(work=QueueLook(5, 1)), "MongoDB does not answer: refused")
    assert told_in(seen) == ["MongoDB does not answer: refused"]
    assert (seen.workers, seen.shipments, seen.dead_letters, seen.open_dead_letters) == (None, None, None, None)
    assert [(queue.ready, queue.unacknowledged) for queue in seen.queues] == [(5, None), (0, None), (0, None)]
    assert oldest_in_words(seen.oldest_waiting) == "unknown (MongoDB is not reachable)"


def test_the_newest_bound_counts_whoever_found_it() -> None:
    def since(seconds: float) -> datetime:
        return NOW - timedelta(seconds=seconds)

    reports = [
        a_report("live", waiting_since=since(40)),
        a_report("stopped", age=20, stopped=True, waiting_since=since(25)),
        a_report("lost", age=11.5 + 15, waiting_since=since(30)),
    ]
    assert the_oldest(*reports) == "at most 25 s"


def test_a_bound_is_rounded_up_and_never_negative() -> None:
    assert the_oldest(a_report(waiting_since=NOW - timedelta(seconds=11.2))) == "at most 12 s"
    assert the_oldest(a_report(waiting_since=NOW + timedelta(seconds=3))) == "at most 0 s"


def test_an_empty_queue_has_no_oldest_order_whatever_is_reported() -> None:
    assert the_oldest(ready=0) == "none waiting"


def test_an_unknown_age_says_why_it_is_unknown() -> None:
    assert the_oldest() == "unknown (no worker has reported)"
    assert the_oldest(a_report()) == "unknown (no worker has taken an order yet)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.1, "1 s"),
        (59.5, "1 min"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (7199, "1 h 59 min"),
        (86400, "1 d"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_time_span_is_written_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_replay_job_that_stopped_by_itself_is_named_and_one_under_way_is_no_problem() -> None:
    stopped = ReplayView("0f3a9c2b", "stopped", "anna", "fixed", "the canary failed: HTTP 500", NOW, NOW)
    seen = overview(store=the_store(a_report(), replay=stopped))
    assert told_in(seen) == [
        "replay job 0f3a9c2b stopped by itself: the canary failed: HTTP 500; 'logistics replay show 0f3a9c2b' says more"
    ]
    under_way = ReplayView("0f3a9c2b", "ramp", "anna", "fixed", None, NOW, NOW)
    seen = overview(store=the_store(a_report(), replay=under_way))
    assert told_in(seen) == []
    assert seen.replay_job == under_way


def wished(*said: tuple[ControlAction, str | None], since: datetime = NOW - timedelta(minutes=7)) -> Wishes:
    wishes = NO_WISHES
    for action, whom in said:
        prefetch = 10 if action is ControlAction.PREFETCH else None
        wish = Wish(action, None, "ann", "supplier migration", since, prefetch=prefetch)
        names = whom.split() if whom else None
        wishes = wishes.with_wish(wish, workers=names, known=["a", "b", "c", "d", "e"])
    return wishes


def told_of(wishes: Wishes, *reports: dict[str, Any]) -> list[str]:
    carried_out = [{"control": {"revision": wishes.revision}, **report} for report in reports]
    return told_in(overview(store=the_store(*carried_out, wishes=wishes)))


PAUSE, RESUME, PREFETCH = ControlAction.PAUSE, ControlAction.RESUME, ControlAction.PREFETCH


def test_a_pause_of_the_fleet_is_told_even_where_no_worker_runs() -> None:
    sentence = (
        "taking orders is paused on all workers by ann since 11:53 UTC: supplier migration; "
        "'logistics workers resume --all' ends it"
    )
    assert told_of(wished((PAUSE, None)), a_report("a"), a_report("b")) == [sentence]
    assert told_of(wished((PAUSE, None))) == [sentence]
    assert told_of(wished((PAUSE, None), (RESUME, None)), a_report("a")) == []


def test_a_pause_of_some_names_them_and_one_from_another_day_tells_the_date() -> None:
    wishes = wished((PAUSE, "a b c d e"), since=NOW - timedelta(days=1))
    assert told_of(wishes, *(a_report(name) for name in "abcde")) == [
        "taking orders is paused on a, b, c and 2 more by ann since 2026-02-28 12:00 UTC: supplier migration; "
        "'logistics workers resume NAME' ends it"
    ]


def test_a_wish_for_a_worker_that_is_lost_or_takes_no_orders_holds_nothing_back() -> None:
    gone, other = a_report("a", age=20), a_report("b", in_flight={"orders.dlq": 0})
    assert told_of(wished((PAUSE, "a b")), gone, other)[0].startswith("1 worker lost")


def test_a_pause_of_the_fleet_names_those_it_does_not_count_for() -> None:
    [told] = told_of(wished((PAUSE, None), (RESUME, "b")), *(a_report(name) for name in "abc"))
    assert told.startswith("taking orders is paused on all workers but b by ann")


def test_a_pause_that_a_worker_has_not_carried_out_yet_names_it() -> None:
    late, old = a_report("b", control={"revision": 0}), {**a_report("c"), "control": {}}
    [told] = told_of(wished((PAUSE, None)), a_report("a"), late, old)
    assert told.startswith("taking orders is paused on all workers (b, c: not yet) by ann")


def test_another_prefetch_is_told_after_a_pause() -> None:
    pause, prefetch = told_of(wished((PREFETCH, None), (PAUSE, "a")), a_report("a"))
    assert pause.startswith("taking orders is paused on a by ann")
    assert prefetch == (
        "the prefetch is set to 10 on all workers by ann since 11:53 UTC: supplier migration; "
        "'logistics workers prefetch default --all' ends it"
    )


def test_what_is_held_back_is_told_in_no_time_however_many_wishes_and_workers_there_are() -> None:
    names = [f"vm-{number:03}" for number in range(300)]
    wishes = NO_WISHES
    for name in names:
        wish = Wish(PAUSE, None, "ann", "", NOW)
        wishes = wishes.with_wish(wish, workers=[name], known=names)
    reports = [a_report(name, control={"revision": 300}) for name in names]
    started = time.process_time()
    told = told_in(overview(store=the_store(*reports, wishes=wishes)))
    one_pass = time.process_time() - started
    started = time.process_time()
    for name in names:
        wishes.for_worker(name)
    assert one_pass < 20 * (time.process_time() - started), "the wishes are looked through once a worker"
    assert len(told) == 300


def test_a_circuit_held_open_by_hand_is_told_as_such_and_not_as_the_supplier_s_fault() -> None:
    wishes = wished((ControlAction.OPEN_CIRCUIT, None))
    held = {"revision": 1, "circuit_held_open": "circuit opened by hand by ann: supplier migration"}
    report = a_report("a", circuit="open", circuit_retry_after=9.0, last_failure="HTTP 503: x", control=held)
    seen = overview(the_looks(work=QueueLook(9, 0)), the_store(report, wishes=wishes))
    assert told_in(seen) == [
        "the circuit is held open on all workers by ann since 11:53 UTC: supplier migration; "
        "'logistics workers circuit reset --all' ends it"
    ]
    assert seen.workers is not None
    assert circuit_in_words(seen.workers[0]) == "opened by hand"


def test_no_consumer_while_all_are_paused_is_how_it_should_be_and_not_while_one_is_not() -> None:
    wishes, nobody = wished((PAUSE, None)), the_looks(work=QueueLook(9, 0))
    paused = a_report("a", control={"revision": 1, "paused": True})
    other = a_report("b", control={"revision": 1, "paused": False})
    assert len(told_in(overview(nobody, the_store(paused, wishes=wishes)))) == 1
    told = told_in(overview(nobody, the_store(paused, other, wishes=wishes)))
    assert told[1].startswith("no consumer on orders.work, though 2 workers for it")
