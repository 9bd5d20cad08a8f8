"""Fuzzing the order's way: content header and body as bytes, through everything, to the bytes that go out."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp.header import ContentHeader

from consumers.orders import OrderConsumer
from infra.rabbitmq.lenient import is_decode_error
from tests.support.fake_broker import on_the_wire, read_frame
from tests.support.fake_ports import Answer, FakeRepository, FakeSupplier, Scripted
from tests.support.fakes import FakeDeadLetters
from tests.support.fuzz_lines import Passed, check_what_goes_out, has_message_id, passed
from tests.support.fuzz_settings import deep, examples
from tests.support.raw_bodies import ORDERS, bodies
from tests.support.raw_headers import content_header, properties
from tests.support.skipping_time import run
from worker.domain.core import LogisticsCore
from worker.domain.delivery import Delivery, MessageState
from worker.domain.errors import CircuitBreakerOpenException
from worker.domain.order import readable_order_id
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry
from worker.domain.retry import RetryPolicy

LIMIT = 10_000
answers = st.sampled_from(
    [
        *(Answer(), Answer(500), Answer(422), Answer(503, retry_after=1e9), Answer(429), Answer(200, accepted=False)),
        *(Answer(lost="cut \ud800 \x00"), CircuitBreakerOpenException(2.0), ValueError("ours" * 999)),
    ]
)


def consumer(answer: Scripted, *, down: bool = False) -> tuple[OrderConsumer, FakeSupplier]:
    repository, supplier, policy = FakeRepository(), FakeSupplier(otherwise=answer), RetryPolicy()
    repository.is_down = down
    core = LogisticsCore(
        repository=repository,
        supplier=supplier,
        dead_letters=FakeDeadLetters(),
        policy=policy,
        worker_name="worker-1",
        chance=lambda: 0.5,
    )
    return OrderConsumer(core=core, policy=policy, max_body_bytes=LIMIT), supplier


def handled(raw: bytes, body: bytes, answer: Scripted, **how: Any) -> tuple[Passed, FakeSupplier]:
    handling, supplier = consumer(answer, down=how.pop("down", False))
    return run(passed(handling.handle, raw, body, **how)), supplier


@deep
@given(properties(), bodies(*ORDERS), answers, st.booleans(), st.booleans())
def test_whatever_arrives_as_an_order_has_an_outcome_and_what_goes_out_can_be_read(
    given_properties: bytes, body: bytes, answer: Scripted, down: bool, returned: bool
) -> None:
    examples["orders: bytes to bytes"] += 1
    raw = content_header(given_properties, body_size=len(body))
    where = {"exchange": "", "routing_key": "orders.work"} if returned else {}
    done, supplier = handled(raw, body, answer, down=down, **where)
    outcome, order_id = done.outcome, readable_order_id(body, max_bytes=LIMIT)
    assert isinstance(outcome, Ack | Retry | Defer | DeadLetter)
    if isinstance(outcome, Ack):
        assert len(supplier.dispatched) == 1
        return
    assert not supplier.dispatched or (isinstance(answer, Answer) and answer.lost is not None)
    state = MessageState.read(done.delivery, order_id=order_id)
    headers = check_what_goes_out(done, state)
    assert (headers["trace_id"], headers["traceparent"]) == (state.trace.trace_id, state.trace.traceparent)
    _it_is_decided_alike_again(raw, body, done, answer, down=down, **where)
    if not isinstance(outcome, DeadLetter):
        _the_next_round_knows_what_this_one_knew(done, state, order_id)


def _it_is_decided_alike_again(raw: bytes, body: bytes, done: Passed, answer: Scripted, **how: Any) -> None:
    """The worker died before the ack: the same message is handed out again."""
    again, _ = handled(raw, body, answer, redelivered=True, **how)
    assert type(again.outcome) is type(done.outcome)
    names = ["trace_id", "traceparent", "attempt", "deferrals", "origin_routing_key", "dead_letter_reason"]
    if has_message_id(done.delivery):
        names += ["origin_message_id", "dead_letter_id"]
    first, second = done.headers_out, again.headers_out
    assert {name: second.get(name) for name in names} == {name: first.get(name) for name in names}


def _the_next_round_knows_what_this_one_knew(done: Passed, before: MessageState, order_id: str | None) -> None:
    state = MessageState.read(done.back(), order_id=order_id)
    assert not state.ignored, "the worker does not believe what it wrote itself"
    assert state.trace == before.trace
    assert (state.origin_exchange, state.origin_routing_key) == (before.origin_exchange, before.origin_routing_key)
    if has_message_id(done.delivery):
        assert state.origin_message_id == before.origin_message_id
    assert (state.dead_letter_id, state.replay_id) == (before.dead_letter_id, before.replay_id)
    assert state.first_failed_at is not None or before.first_failed_at is None


@deep
@given(properties(), st.sampled_from(ORDERS), st.lists(answers, min_size=1, max_size=12))
def test_an_order_that_goes_round_ends_and_its_tries_are_counted(
    given_properties: bytes, body: bytes, answers_in_turn: list[Scripted]
) -> None:
    examples["orders: round and round"] += 1
    raw = content_header(given_properties, body_size=len(body))
    outcomes: list[Outcome] = []
    attempts: list[int] = []
    done: Passed | None = None
    trace: str | None = None
    for answer in answers_in_turn:
        handling, _ = consumer(answer)
        delivery = done.back() if done is not None else None
        done = run(passed(handling.handle, raw, body)) if delivery is None else _again(handling, delivery, done)
        outcomes.append(done.outcome)
        if not isinstance(done.outcome, Retry | Defer):
            break
        headers = done.headers_out
        trace = trace or str(headers["trace_id"])
        assert headers["trace_id"] == trace
        attempts.append(int(str(headers["attempt"])))
    assert attempts == sorted(attempts)
    assert sum(isinstance(outcome, Retry) for outcome in outcomes) < RetryPolicy().max_attempts


def _again(handling: OrderConsumer, delivery: Delivery, before: Passed | None) -> Passed:
    """Have what went out handled when it comes back, its waiting time being over."""
    assert before is not None
    assert before.out is not None
    assert delivery.body == before.delivery.body
    wire = on_the_wire(before.out.message)
    return run(passed(_patient(handling), wire, delivery.body, exchange="", routing_key="orders.work"))


def _patient(handling: OrderConsumer) -> Any:
    async def handle(delivery: Delivery) -> Outcome:
        headers = {name: value for name, value in delivery.headers.items() if name != "not_before"}
        return await handling.handle(Delivery(delivery.body, headers, delivery.message_id, "", "orders.work"))

    return handle


@deep
@given(properties())
def test_what_an_ordinary_connection_cannot_read_is_noticed_and_a_lenient_one_reads_it(given_properties: bytes) -> None:
    examples["connection: content headers"] += 1
    raw = content_header(given_properties, body_size=7)
    lenient = run(read_frame(raw, lenient=True))
    assert lenient.body_size == 7
    plain, error = _read_plainly(raw)
    if plain is None:
        assert is_decode_error(error), f"the connection would be dropped for ever: {error!r}"
    else:
        assert repr(dict(lenient.properties)) == repr(dict(plain.properties))


def _read_plainly(raw: bytes) -> tuple[ContentHeader | None, Exception | None]:
    try:
        return run(read_frame(raw, lenient=False)), None
    except Exception as error:  # noqa: BLE001 - whichever it is, the worker must know it again
        return None, error
