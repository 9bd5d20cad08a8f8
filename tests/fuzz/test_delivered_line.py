"""Fuzzing the delivery notice's way: content header and body as bytes, to what goes out and what is filed of it."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumers.dead_letters import DeadLetterConsumer
from consumers.delivered import DeliveredConsumer
from tests.support.fake_ports import FakeRepository
from tests.support.fakes import FakeDeadLetters
from tests.support.fuzz_lines import Passed, check_what_goes_out, has_message_id, passed
from tests.support.fuzz_settings import deep, examples
from tests.support.raw_bodies import NOTICES, bodies
from tests.support.raw_headers import content_header, properties
from tests.support.skipping_time import run
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.delivery import MessageState
from worker.domain.delivery_core import DeliveryCore
from worker.domain.delivery_notice import readable_names
from worker.domain.filing import DeadLetterFiling
from worker.domain.outcome import Ack, DeadLetter, Defer, Retry
from worker.domain.retry import RetryPolicy
from worker.domain.shipment import Shipment, ShipmentStatus
from worker.domain.trace import gives_trace

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMIT = 10_000


def store_with(status: ShipmentStatus | None) -> FakeRepository:
    repository = FakeRepository()
    if status is not None:
        shipment = Shipment.for_order("A-1", "Oslo", trace_id="trace-of-the-order", now=NOW)
        shipment.status = status
        repository.shipments[shipment.id] = shipment
    return repository


def handled(raw: bytes, body: bytes, repository: FakeRepository, **how: Any) -> Passed:
    policy = RetryPolicy()
    core = DeliveryCore(
        repository=repository,
        dead_letters=FakeDeadLetters(),
        policy=policy,
        worker_name="worker-1",
        chance=lambda: 0.5,
    )
    consumer = DeliveredConsumer(core=core, policy=policy, max_body_bytes=LIMIT)
    return run(passed(consumer.handle, raw, body, **how))


@deep
@given(properties(), bodies(*NOTICES), st.sampled_from([None, *ShipmentStatus]), st.booleans())
def test_whatever_arrives_as_a_notice_has_an_outcome_and_its_dead_letter_is_a_notices(
    given_properties: bytes, body: bytes, status: ShipmentStatus | None, down: bool
) -> None:
    examples["notices: bytes to bytes"] += 1
    raw = content_header(given_properties, body_size=len(body))
    repository = store_with(status)
    repository.is_down = down
    done = handled(raw, body, repository, exchange="shipments", routing_key="shipment.delivered")
    outcome = done.outcome
    assert isinstance(outcome, Ack | Retry | Defer | DeadLetter)
    if isinstance(outcome, Ack):
        (shipment,) = repository.shipments.values()
        assert shipment.status is ShipmentStatus.DELIVERED
        return
    order_id, _ = readable_names(body, max_bytes=LIMIT)
    headers = check_what_goes_out(done, MessageState.read(done.delivery, order_id=order_id))
    assert (headers["origin_exchange"], headers["origin_routing_key"]) == ("shipments", "shipment.delivered")
    given_trace = gives_trace(done.delivery.headers)
    assert given_trace <= ("trace_id" in headers)
    again = handled(raw, body, repository, exchange="shipments", routing_key="shipment.delivered", redelivered=True)
    assert type(again.outcome) is type(outcome)
    assert again.headers_out.get("trace_id") == headers.get("trace_id")
    if isinstance(outcome, DeadLetter):
        letter = filed(done, status)
        assert letter.kind is LetterKind.DELIVERED
        assert letter.trace_id == headers["trace_id"]
        if done.delivery.headers.get("dead_letter_id") is None:
            assert letter.id == headers["dead_letter_id"], "it is filed under another id than the one it was given"
        if has_message_id(done.delivery):
            assert again.headers_out["dead_letter_id"] == headers["dead_letter_id"]


def filed(done: Passed, status: ShipmentStatus | None) -> DeadLetterRecord:
    """Return the letter that is filed of what went to the dead letters."""
    letters = FakeDeadLetters()
    filing = DeadLetterFiling(
        dead_letters=letters,
        repository=store_with(status),
        worker_name="worker-1",
        max_body_bytes=LIMIT,
        clock=lambda: NOW,
    )
    assert run(DeadLetterConsumer(filing=filing).handle(done.back())) == Ack("filed")
    (letter,) = letters.letters.values()
    return letter
