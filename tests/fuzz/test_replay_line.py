"""Fuzzing the loop of a replay: from `orders.dlq` to the document, to the copy that goes out, to how it ends."""

import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from consumers.dead_letters import DeadLetterConsumer
from consumers.delivered import DeliveredConsumer
from consumers.orders import OrderConsumer
from infra.rabbitmq.reading import read_delivery
from tests.support.fake_broker import FakeChannel, FakeExchanges, on_the_wire, received
from tests.support.fake_ports import Answer, FakeRepository, FakeSupplier, Scripted
from tests.support.fuzz_lines import FRAME, Handle, check_foreign_headers, passed
from tests.support.fuzz_settings import deep, examples
from tests.support.raw_bodies import NOTICES, ORDERS, bodies
from tests.support.raw_headers import content_header, properties
from tests.support.skipping_time import run
from tests.support.stored_letters import StoredDeadLetters
from worker.domain.core import LogisticsCore
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.delivery_core import DeliveryCore
from worker.domain.filing import DeadLetterFiling
from worker.domain.outcome import Ack, DeadLetter
from worker.domain.replay import Origin, origin_of, replay_headers
from worker.domain.retry import RetryPolicy
from worker.domain.selection import DeadLetterState

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMIT = 10_000
ORDERS_EXCHANGE = Origin("orders", "order.placed")


class Room:
    """A worker with all three consumers, and its dead letters."""

    def __init__(self, answer: Scripted) -> None:
        self.letters, repository, policy = StoredDeadLetters(), FakeRepository(), RetryPolicy()
        filing = DeadLetterFiling(
            dead_letters=self.letters,
            repository=repository,
            worker_name="worker-1",
            max_body_bytes=LIMIT,
            clock=lambda: NOW,
        )
        core = LogisticsCore(
            repository=repository,
            supplier=FakeSupplier(otherwise=answer),
            dead_letters=self.letters,
            policy=policy,
            worker_name="worker-1",
            clock=lambda: NOW,
        )
        notices = DeliveryCore(
            repository=repository, dead_letters=self.letters, policy=policy, worker_name="worker-1", clock=lambda: NOW
        )
        self.files = DeadLetterConsumer(filing=filing)
        self._orders = OrderConsumer(core=core, policy=policy, max_body_bytes=LIMIT)
        self._notices = DeliveredConsumer(core=notices, policy=policy, max_body_bytes=LIMIT)

    def letter(self) -> DeadLetterRecord:
        (letter,) = self.letters.letters.values()
        return letter

    def consumer_of(self, letter: DeadLetterRecord) -> Handle:
        return self._notices.handle if letter.kind is LetterKind.DELIVERED else self._orders.handle

    async def file(self, raw: bytes, body: bytes) -> None:
        message = await received(raw, body, FakeChannel(), exchange="orders.dead-letter", routing_key="")
        assert await self.files.handle(read_delivery(message)) == Ack("filed")

    async def replay(self, replay_id: str) -> tuple[Origin, bytes]:
        """Claim the letter and publish its copy; return where it went, and its content header."""
        letter = self.letter()
        assert await self.letters.claim_for_replay(letter.id, replay_id=replay_id, by="anna", now=NOW)
        origin, exchanges = origin_of(letter, default=ORDERS_EXCHANGE), FakeExchanges()
        await exchanges.publisher().publish_copy(
            exchange=origin.exchange,
            routing_key=origin.routing_key,
            body=letter.body,
            headers=replay_headers(letter, replay_id=replay_id, origin=origin),
            message_id=str(uuid.uuid4()),
        )
        (out,) = exchanges.taken
        assert out.message.body == letter.body
        return origin, on_the_wire(out.message)


@deep
@given(
    properties(),
    bodies(*ORDERS, *NOTICES),
    st.sampled_from([Answer(), Answer(422), Answer(200, accepted=False)]),
)
def test_a_replay_s_copy_can_be_sent_and_its_end_finds_the_letter(
    given_properties: bytes, body: bytes, answer: Scripted
) -> None:
    examples["replays: letter to letter"] += 1
    room, replay_id = Room(answer), str(uuid.uuid4())
    run(room.file(content_header(given_properties, body_size=len(body)), body))
    if room.letter().state is not DeadLetterState.OPEN:
        return
    before = room.letter()
    origin, raw = run(room.replay(replay_id))
    assert len(raw) <= FRAME
    where = {"exchange": origin.exchange[:100], "routing_key": origin.routing_key[:100]}
    done = run(passed(room.consumer_of(before), raw, body, **where))
    check_foreign_headers(before.headers, done.delivery.headers)
    assert done.delivery.headers["trace_id"] == before.trace_id
    assert done.delivery.headers["attempt"] == 0
    if isinstance(done.outcome, Ack):
        assert room.letter().state is DeadLetterState.RESOLVED
        return
    assert isinstance(done.outcome, DeadLetter)
    again = done.back()
    assert again.headers["trace_id"] == before.trace_id
    assert run(room.files.handle(again)) == Ack("filed")
    after = room.letter()
    assert (after.id, after.state, after.replay_count) == (before.id, DeadLetterState.OPEN, 1)
    assert (after.body, after.kind, after.trace_id) == (before.body, before.kind, before.trace_id)
