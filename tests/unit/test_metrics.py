"""The metrics pages: what is counted, what is shown, and that nothing a message says becomes a label."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.rabbitmq.depths import QueueLook
from infra.telemetry.metrics import WorkerMetrics
from infra.telemetry.overview_metrics import render_overview, samples_of
from tests.support.metric_names import AT_REST, NOW
from worker.domain.delivery import Delivery
from worker.domain.errors import CircuitBreakerOpenException, EarlyNoticeError, StoreUnavailableError
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.replay_job import ItemState
from worker.overview_picture import Overview, ReplayView, StoreLook, assemble

ERROR = ValueError("x")


class Page:
    """A worker's metrics, and its page as a mapping of samples."""

    def __init__(self) -> None:
        self.state = AT_REST
        self.metrics = WorkerMetrics(version="1.2.3", look=lambda: self.state)
        self.settled = self.metrics.watch("orders.work")

    def settle(self, outcome: Outcome, **headers: object) -> None:
        self.settled(Delivery(b"{}", headers=headers), outcome, 0.1, 0.2)

    def text(self) -> bytes:
        return self.metrics.render({"orders.work": None, "orders.dlq": "sits deaf"}, {"store": None})

    def samples(self) -> dict[str, float]:
        return samples(self.text())


def samples(page: bytes) -> dict[str, float]:
    """The samples by name and labels as one writes them, the labels sorted."""
    return {
        sample.name + written(sample.labels): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def written(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{inside}}}" if labels else ""


def an_overview(**changes: object) -> Overview:
    looks = {
        "orders.work": QueueLook(3, 0),
        "shipments.delivered": QueueLook(0, 1),
        "orders.dlq": None,
        "orders.retry.5s": QueueLook(4, 0),
        "shipments.retry.5s": None,
    }
    reports = [
        {"name": name, "seen_at": NOW - timedelta(seconds=age), "circuit": circuit, "connected": connected}
        for name, age, circuit, connected in (
            ("a", 1, "closed", True),
            ("b", 1, "open", False),
            ("gone", 60, "open", False),
        )
    ]
    job = ReplayView(
        "0f3a", "canary", "anna", "fixed", None, NOW - timedelta(minutes=5), state_since=NOW - timedelta(minutes=1)
    )
    store = StoreLook(reports, {"SHIPPED": 7}, {"malformed": 2}, {"open": 2, "resolved": 5}, job)
    return replace(assemble(looks, store, delays=["5s"], now=NOW), **changes)  # type: ignore[arg-type]


def overview_samples(**changes: object) -> dict[str, float]:
    return samples(render_overview(asdict(an_overview(**changes)), version="1.2.3"))


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (CircuitBreakerOpenException(1.0), "circuit_open"),
        (StoreUnavailableError("away"), "store_unavailable"),
        (EarlyNoticeError("PENDING"), "not_shipped_yet"),
        (None, "early"),
        (ERROR, "fault"),
    ],
)
def test_a_deferral_is_counted_by_its_cause(error: BaseException | None, cause: str) -> None:
    page = Page()
    page.settle(Defer("1s", error, 0))
    assert page.samples()[f'logistics_deferrals_total{{cause="{cause}",queue="orders.work"}}'] == 1


def test_the_tries_of_what_has_come_to_its_end_are_counted_and_of_nothing_else() -> None:
    page = Page()
    page.settle(Ack("shipped"), attempt=2)
    page.settle(Ack("duplicate"), attempt=2)
    page.settle(Retry("5s", ERROR, 0))
    page.settle(DeadLetter(DeadLetterReason.ATTEMPTS_EXHAUSTED, ERROR, headers={"attempt": 6}))
    page.settle(Ack("shipped"), attempt="a fairy tale")
    seen = page.samples()
    assert seen['logistics_attempts_sum{outcome="ack",queue="orders.work"}'] == 3 + 1
    assert seen['logistics_attempts_count{outcome="ack",queue="orders.work"}'] == 2
    assert seen['logistics_attempts_sum{outcome="dead_letter",queue="orders.work"}'] == 6


def test_the_time_to_a_shipment_begins_when_the_order_was_published() -> None:
    page = Page()
    ago = datetime.now(UTC) - timedelta(seconds=20)
    page.settled(Delivery(b"{}", published_at=ago), Ack("shipped"), 0.1, 0.2)
    page.settled(Delivery(b"{}", published_at=ago), Ack("duplicate"), 0.1, 0.2)
    page.settled(Delivery(b"{}", published_at=datetime.now(UTC) + timedelta(hours=1)), Ack("shipped"), 0.1, 0.2)
    exact = {"published_at": round(time.time() * 1000) - 500}
    page.settled(Delivery(b"{}", exact, published_at=ago), Ack("shipped"), 0.1, 0.2)
    page.settle(Ack("shipped"))
    seen = page.samples()
    assert seen["logistics_publish_to_shipped_seconds_count"] == 3
    assert seen['logistics_publish_to_shipped_seconds_bucket{le="10.0"}'] == 2
    assert seen["logistics_publish_to_shipped_seconds_sum"] == pytest.approx(20.5, abs=2)


def test_settling_is_timed_apart_from_handling() -> None:
    page = Page()
    page.settled(Delivery(b"{}"), Ack("shipped"), 3.0, 3.5)
    seen = page.samples()
    assert seen['logistics_settlement_duration_seconds_sum{queue="orders.work"}'] == 0.5
    assert seen['logistics_delivery_duration_seconds_sum{queue="orders.work"}'] == 3.5


def test_what_may_never_happen_is_there_from_the_beginning() -> None:
    seen = Page().samples()
    for reason in DeadLetterReason:
        assert seen[f'logistics_dead_letters_filed_total{{reason="{reason}"}}'] == 0
    for answer in ("accepted", "refused", "unavailable", "unknown"):
        assert seen[f'logistics_supplier_request_duration_seconds_count{{answer="{answer}"}}'] == 0
    for result in ("sent", "in_doubt", "not_sent"):
        assert seen[f'logistics_replay_copies_total{{result="{result}"}}'] == 0


def test_filed_letters_answers_and_copies_are_counted() -> None:
    page = Page()
    page.metrics.filed("delivery_limit")
    page.metrics.supplier_answered("unknown", 2.0)
    page.metrics.copy_sent(ItemState.SENT)
    seen = page.samples()
    assert seen['logistics_dead_letters_filed_total{reason="delivery_limit"}'] == 1
    assert seen['logistics_supplier_request_duration_seconds_sum{answer="unknown"}'] == 2
    assert seen['logistics_replay_copies_total{result="sent"}'] == 1


def test_the_gauges_show_the_worker_as_it_is_when_asked() -> None:
    page = Page()
    assert str(page.samples()["logistics_backlog_age_seconds"]) == "nan"
    page.state = replace(
        AT_REST,
        circuit="half_open",
        circuit_open_for=40.0,
        circuit_retry_after=2.5,
        circuit_openings=3,
        intake_limit=1,
        backlog_age=12.0,
        held={"orders.work": 4},
        replay_held=True,
    )
    seen = page.samples()
    expected = {
        'logistics_circuit_state{state="half_open"}': 1,
        'logistics_circuit_state{state="closed"}': 0,
        "logistics_circuit_open_seconds": 40,
        "logistics_circuit_retry_after_seconds": 2.5,
        "logistics_circuit_openings_total": 3,
        "logistics_intake_limit": 1,
        "logistics_prefetch": 100,
        "logistics_backlog_age_seconds": 12,
        'logistics_held{queue="orders.work"}': 4,
        "logistics_replay_job_held": 1,
        'logistics_live{check="orders.work"}': 1,
        'logistics_live{check="orders.dlq"}': 0,
        'logistics_ready{check="store"}': 1,
        'logistics_worker_info{version="1.2.3"}': 1,
    }
    assert {name: seen[name] for name in expected} == expected
    assert seen["process_resident_memory_bytes"] > 0


def test_what_messages_say_becomes_no_label() -> None:
    page = Page()
    for number in range(100):
        said = ValueError(f"order {number} is odd")
        page.settle(Retry("5s", said, 0), order_id=f"o-{number}", attempt=number)
        page.settle(Defer("5s", said, 0), trace_id=f"t-{number}")
        page.settle(DeadLetter(DeadLetterReason.MALFORMED, said, headers={"attempt": number * 1_000_000}))
    before = len(Page().samples())
    assert len(page.samples()) - before < 60


def test_the_overview_page_shows_queues_workers_letters_and_the_replay_job() -> None:
    seen = overview_samples()
    expected = {
        'logistics_queue_exists{queue="orders.work"}': 1,
        'logistics_queue_exists{queue="orders.dlq"}': 0,
        'logistics_queue_ready{queue="orders.work"}': 3,
        'logistics_queue_consumers{queue="orders.work"}': 0,
        'logistics_delayed{delay="5s",kind="order"}': 4,
        'logistics_workers{circuit="closed"}': 1,
        'logistics_workers{circuit="open"}': 1,
        'logistics_workers{circuit="half_open"}': 0,
        "logistics_workers_lost": 1,
        "logistics_workers_disconnected": 1,
        'logistics_shipments{status="SHIPPED"}': 7,
        'logistics_shipments{status="PENDING"}': 0,
        'logistics_dead_letters{state="open"}': 2,
        'logistics_dead_letters{state="discarded"}': 0,
        'logistics_dead_letters_open{reason="malformed"}': 2,
        'logistics_replay_job_state{state="canary"}': 1,
        'logistics_replay_job_state{state="stopped"}': 0,
        "logistics_replay_job_age_seconds": 300,
        "logistics_replay_job_state_age_seconds": 60,
        'logistics_server_reachable{server="mongodb"}': 1,
        "logistics_overview_timestamp_seconds": NOW.timestamp(),
    }
    assert {name: seen[name] for name in expected} == expected
    assert 'logistics_queue_ready{queue="orders.dlq"}' not in seen
    assert 'logistics_delayed{delay="5s",kind="notice"}' not in seen


def test_the_oldest_order_has_no_age_when_nobody_knows_it_and_none_when_nothing_waits() -> None:
    name = "logistics_oldest_waiting_order_age_seconds"
    waiting = an_overview().oldest_waiting
    assert name not in overview_samples()  # no worker has taken an order yet
    assert overview_samples(oldest_waiting=replace(waiting, at_most=70.0))[name] == 70
    assert overview_samples(oldest_waiting=replace(waiting, waiting=False))[name] == 0


def test_without_servers_the_overview_page_says_that_and_nothing_it_does_not_know() -> None:
    away = assemble("no broker", "no store", delays=["5s"], now=NOW)
    seen = samples(render_overview(asdict(away), version="1.2.3"))
    assert seen['logistics_server_reachable{server="rabbitmq"}'] == 0
    assert seen['logistics_server_reachable{server="mongodb"}'] == 0
    assert not [name for name in seen if name.startswith(("logistics_queue", "logistics_dead", "logistics_workers"))]


def test_without_a_replay_job_every_state_is_0() -> None:
    seen = overview_samples(replay_job=None)
    assert [value for name, value in seen.items() if name.startswith("logistics_replay_job")] == [0] * 6


def test_the_samples_of_a_page_are_there_as_json_too() -> None:
    page = render_overview(asdict(an_overview()), version="1.2.3")
    assert {"name": "logistics_queue_ready", "labels": {"queue": "orders.work"}, "value": 3.0} in samples_of(page)
