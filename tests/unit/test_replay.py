"""Replaying dead letters, against fakes that keep the ports' contracts."""

import asyncio
import itertools
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_ports import FakeRepository
from tests.support.fakes import FakeDeadLetters, FakeReplayPublisher
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, dead_letter_from
from worker.domain.delivery import Delivery, MessageState
from worker.domain.errors import BrokerUnavailableError, PublishError, StoreUnavailableError, UnroutableError
from worker.domain.filing import DeadLetterFiling
from worker.domain.replay import IN_FLIGHT, Origin, ReplayService, origin_of, replay_headers
from worker.domain.replay_report import Replayed, ReplayOutcome, ReplayResult
from worker.domain.selection import DeadLetterState, Selection

DEFAULT = Origin("orders", "order.placed")
REPLAY_ID = "11111111-2222-3333-4444-555555555555"


class Room:
    """A replay service and what it works on."""

    def __init__(self, *letters: DeadLetterRecord) -> None:
        self.store = FakeDeadLetters()
        self.store.letters = {letter.id: letter for letter in letters}
        self.publisher = FakeReplayPublisher()
        numbers = itertools.count(1)
        self.service = ReplayService(
            dead_letters=self.store,
            publisher=self.publisher,
            default_origin=DEFAULT,
            clock=lambda: NOW,
            new_id=lambda: str(uuid.UUID(int=next(numbers))),
        )

    def letter(self, letter_id: str) -> DeadLetterRecord:
        return self.store.letters[letter_id]


def refusing(letter_id: str, error: Exception) -> Any:
    return lambda copy: error if copy.headers["dead_letter_id"] == letter_id else None


async def test_a_replayed_letter_goes_out_byte_for_byte_to_where_it_came_from() -> None:
    letter = a_letter(body=b'{"order_id": "A-1",\n "x": 1.10}', origin_routing_key="order.placed.eu")
    room = Room(letter)
    report = await room.service.replay([letter.id], by="anna")
    (copy,) = room.publisher.copies
    assert (copy.exchange, copy.routing_key, copy.body) == ("orders", "order.placed.eu", letter.body)
    assert copy.headers["dead_letter_id"] == letter.id
    assert report.sent == {letter.id: copy.headers["replay_id"]}


async def test_a_replayed_letter_is_replaying_confirmed_and_says_who_did_it() -> None:
    letter = a_letter()
    room = Room(letter)
    report = await room.service.replay([letter.id], by="anna")
    stored = room.letter(letter.id)
    assert stored.state is DeadLetterState.REPLAYING
    assert stored.replay_id == report.sent[letter.id]
    assert (stored.history[-1].event, stored.history[-1].by) == ("replayed", "anna")
    assert await room.store.reopen_abandoned(claimed_before=NOW + timedelta(days=1), now=NOW) == 0


async def test_every_copy_has_a_message_id_and_a_replay_id_of_its_own() -> None:
    letters = [a_letter() for _ in range(30)]
    room = Room(*letters)
    await room.service.replay([letter.id for letter in letters], by="anna")
    drawn = [copy.message_id for copy in room.publisher.copies]
    drawn += [str(copy.headers["replay_id"]) for copy in room.publisher.copies]
    assert len(set(drawn)) == 60


async def test_many_letters_are_in_flight_at_once_but_no_more_than_the_limit() -> None:
    letters = [a_letter() for _ in range(100)]
    room = Room(*letters)
    progress: list[Replayed] = []
    report = await room.service.replay([letter.id for letter in letters], by="anna", on_progress=progress.append)
    assert room.publisher.most_in_flight == IN_FLIGHT
    assert len(report.sent) == len(progress) == 100


async def test_a_letter_named_twice_goes_out_once() -> None:
    letter = a_letter()
    room = Room(letter)
    report = await room.service.replay([letter.id, letter.id], by="anna")
    assert len(room.publisher.copies) == len(report.letters) == 1


async def test_of_two_operators_only_one_sends_a_letter() -> None:
    letters = [a_letter() for _ in range(50)]
    room = Room(*letters)
    ids = [letter.id for letter in letters]
    reports = await asyncio.gather(room.service.replay(ids, by="anna"), room.service.replay(ids, by="ben"))
    assert sorted(str(copy.headers["dead_letter_id"]) for copy in room.publisher.copies) == sorted(ids)
    assert sum(len(report.sent) for report in reports) == 50
    skipped = [letter for report in reports for letter in report.letters if letter.result is ReplayResult.SKIPPED]
    assert {letter.why for letter in skipped} == {"is being replayed by somebody else"}
    assert len(skipped) == 50


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (DeadLetterState.REPLAYING, "is being replayed by somebody else"),
        (DeadLetterState.RESOLVED, "is resolved already"),
        (DeadLetterState.DISCARDED, "is discarded"),
    ],
)
async def test_a_letter_that_is_not_open_is_skipped_with_the_reason(state: DeadLetterState, why: str) -> None:
    letter = a_letter(state=state)
    room = Room(letter)
    report = await room.service.replay([letter.id], by="anna")
    assert report.letters == (Replayed(letter.id, ReplayResult.SKIPPED, why=why),)
    assert room.publisher.copies == []
    assert room.letter(letter.id) == letter


async def test_a_letter_that_does_not_exist_is_skipped() -> None:
    report = await Room().service.replay(["nobody"], by="anna")
    assert report.letters == (Replayed("nobody", ReplayResult.SKIPPED, why="there is no such dead letter"),)


@pytest.mark.parametrize("error", [UnroutableError("no queue is bound"), PublishError("the queue is full")])
async def test_a_refused_copy_leaves_the_letter_open_and_the_others_go_on(error: Exception) -> None:
    letters = [a_letter() for _ in range(5)]
    room = Room(*letters)
    room.publisher.refuse = refusing(letters[2].id, error)
    report = await room.service.replay([letter.id for letter in letters], by="anna")
    assert room.letter(letters[2].id).state is DeadLetterState.OPEN
    assert room.letter(letters[2].id).history[-1].event == "not_sent"
    assert (report.count(ReplayResult.SENT), report.count(ReplayResult.FAILED)) == (4, 1)
    assert [letter.why for letter in report.letters if letter.result is ReplayResult.FAILED] == [str(error)]
    assert report.stopped is None


async def test_a_copy_of_which_nobody_knows_stays_replaying_and_stops_the_replay() -> None:
    letters = [a_letter() for _ in range(100)]
    room = Room(*letters)
    room.publisher.refuse = refusing(letters[30].id, BrokerUnavailableError("no answer in time"))
    report = await room.service.replay([letter.id for letter in letters], by="anna")
    unknown = room.letter(letters[30].id)
    assert unknown.state is DeadLetterState.REPLAYING
    assert report.stopped == "no answer in time"
    assert report.count(ReplayResult.UNKNOWN) == 1
    assert report.not_tried == 100 - len(report.letters) > 0
    assert len(report.letters) <= 30 + IN_FLIGHT
    # The worker's sweep gives it another chance, and nothing else.
    assert await room.store.reopen_abandoned(claimed_before=NOW + timedelta(days=1), now=NOW) == 1
    assert room.letter(unknown.id).state is DeadLetterState.OPEN


@pytest.mark.parametrize(
    ("write", "result"),
    [("claim_for_replay", ReplayResult.FAILED), ("confirm_replay", ReplayResult.UNKNOWN)],
)
async def test_a_store_that_does_not_answer_stops_the_replay_and_is_told(write: str, result: ReplayResult) -> None:
    letters = [a_letter() for _ in range(60)]
    room = Room(*letters)
    done = 0

    async def fail_later(name: str) -> None:
        nonlocal done
        done += name == write
        if name == write and done > 25:
            raise StoreUnavailableError("MongoDB does not answer")

    room.store.before_write = fail_later
    report = await room.service.replay([letter.id for letter in letters], by="anna")
    assert report.stopped == "MongoDB does not answer"
    assert report.count(result) > 0
    assert report.count(ReplayResult.SENT) <= 25
    assert report.not_tried + len(report.letters) == 60


async def test_a_refused_copy_that_cannot_be_given_back_still_counts_as_failed() -> None:
    letter = a_letter()
    room = Room(letter)
    room.publisher.refuse = lambda _: UnroutableError("no queue is bound")

    async def fail(name: str) -> None:
        if name == "give_back":
            raise StoreUnavailableError("MongoDB does not answer")

    room.store.before_write = fail
    report = await room.service.replay([letter.id], by="anna")
    assert report.count(ReplayResult.FAILED) == 1
    assert report.stopped == "MongoDB does not answer"


async def test_an_interrupted_replay_finishes_what_is_in_flight_and_says_what_is_left() -> None:
    letters = [a_letter() for _ in range(100)]
    room = Room(*letters)
    progress: list[Replayed] = []
    report = await room.service.replay(
        [letter.id for letter in letters], by="anna", on_progress=progress.append, go_on=lambda: len(progress) < 10
    )
    assert report.stopped == "it was interrupted"
    assert len(report.sent) == len(report.letters) < 10 + IN_FLIGHT
    assert report.not_tried == 100 - len(report.letters)


async def test_a_replay_of_nothing_does_nothing() -> None:
    report = await Room().service.replay([], by="anna")
    assert (report.letters, report.not_tried, report.stopped) == ((), 0, None)


async def test_a_plan_names_the_open_letters_oldest_first_by_group_and_reason_and_changes_nothing() -> None:
    old = a_letter(dead_lettered_at=NOW - timedelta(hours=1), fingerprint="aaa")
    new = a_letter(dead_lettered_at=NOW, fingerprint="aaa", error_message="newest")
    other = a_letter(dead_lettered_at=NOW - timedelta(minutes=1), fingerprint="bbb", reason="malformed")
    room = Room(new, old, other)
    before = dict(room.store.letters)
    plan = await room.service.plan(Selection())
    assert plan.ids == (old.id, other.id, new.id)
    assert [(group.fingerprint, group.count, group.error_message) for group in plan.groups] == [
        ("aaa", 2, "newest"),
        ("bbb", 1, other.error_message),
    ]
    assert plan.by_reason == {"supplier_rejected": 2, "malformed": 1}
    assert room.store.letters == before
    assert room.publisher.copies == []


async def test_a_plan_counts_what_is_not_open_by_state() -> None:
    states = [DeadLetterState.OPEN, *[DeadLetterState.RESOLVED] * 2, DeadLetterState.DISCARDED]
    room = Room(*(a_letter(state=state) for state in states))
    plan = await room.service.plan(Selection())
    assert len(plan.ids) == 1
    assert plan.left_alone == {DeadLetterState.RESOLVED: 2, DeadLetterState.DISCARDED: 1}


async def test_a_plan_of_named_letters_tells_how_many_the_other_filters_leave_out() -> None:
    wanted, other = a_letter(reason="malformed"), a_letter()
    room = Room(wanted, other, a_letter(reason="malformed"))
    plan = await room.service.plan(Selection(ids=(wanted.id, other.id), reason="malformed"))
    assert plan.ids == (wanted.id,)
    assert plan.not_matching == 1


async def test_a_plan_for_a_state_that_is_not_open_has_nothing_to_send() -> None:
    room = Room(a_letter(), a_letter(state=DeadLetterState.RESOLVED))
    plan = await room.service.plan(Selection(state=DeadLetterState.RESOLVED))
    assert plan.ids == ()
    assert plan.left_alone == {DeadLetterState.RESOLVED: 1}


async def test_the_outcomes_tell_shipped_from_failed_again_from_still_on_its_way() -> None:
    shipped, failed, waiting = letters = [a_letter() for _ in range(3)]
    room = Room(*letters)
    report = await room.service.replay([letter.id for letter in letters], by="anna")
    await room.store.resolve(order_id=str(shipped.order_id), letter_id=shipped.id, now=NOW)
    stored = room.letter(failed.id)
    again = a_letter(id=failed.id, replay_id=stored.replay_id, filed=(f"m:{stored.replay_id}",))
    room.store.letters[failed.id] = stored.absorb(again)
    assert await room.service.outcomes(report.sent) == {
        shipped.id: ReplayOutcome.RESOLVED,
        failed.id: ReplayOutcome.FAILED_AGAIN,
        waiting.id: ReplayOutcome.ON_ITS_WAY,
    }


async def test_the_failure_of_an_earlier_replay_is_not_the_outcome_of_this_one() -> None:
    letter = a_letter()
    room = Room(letter)
    first = (await room.service.replay([letter.id], by="anna")).sent[letter.id]
    room.store.letters[letter.id] = room.letter(letter.id).absorb(
        a_letter(id=letter.id, replay_id=first, filed=(f"m:{first}",))
    )
    second = await room.service.replay([letter.id], by="anna")
    assert await room.service.outcomes(second.sent) == {letter.id: ReplayOutcome.ON_ITS_WAY}


# Headers and origin of the copy


def headers_of(letter: DeadLetterRecord) -> dict[str, object]:
    return replay_headers(letter, replay_id=REPLAY_ID, origin=origin_of(letter, default=DEFAULT))


def test_a_copy_keeps_the_publishers_headers_and_the_trace_and_starts_counting_anew() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    letter = a_letter(
        trace_id="t-1",
        headers={
            "x-tenant": "acme",
            "priority": 3,
            "trace_id": "t-1",
            "traceparent": parent,
            "tracestate": "vendor=1",
            "attempt": 6,
            "deferrals": 4,
            "origin_exchange": "orders",
            "origin_routing_key": "order.placed",
            "origin_message_id": "m-1",
        },
    )
    assert headers_of(letter) == {
        "x-tenant": "acme",
        "priority": 3,
        "trace_id": "t-1",
        "traceparent": parent,
        "tracestate": "vendor=1",
        "attempt": 0,
        "deferrals": 0,
        "origin_exchange": "orders",
        "origin_routing_key": "order.placed",
        "origin_message_id": "m-1",
        "dead_letter_id": letter.id,
        "replay_id": REPLAY_ID,
    }


@pytest.mark.parametrize(
    "name",
    [
        *("error_type", "error_message", "error_frame", "error_chain", "dead_letter_reason"),
        *("first_failed_at", "not_before"),
        *("x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "x-acquired-count"),
    ],
)
def test_a_copy_carries_nothing_of_the_failure_nor_of_the_broker(name: str) -> None:
    assert name not in headers_of(a_letter(headers={name: "anything", "origin_routing_key": "order.placed"}))


def test_a_replay_of_a_replay_names_the_new_replay() -> None:
    letter = a_letter(headers={"replay_id": str(uuid.uuid4()), "dead_letter_id": str(uuid.uuid4())})
    assert headers_of(letter)["replay_id"] == REPLAY_ID
    assert headers_of(letter)["dead_letter_id"] == letter.id


def test_a_copy_goes_where_the_message_came_from() -> None:
    letter = a_letter(origin_exchange="", origin_routing_key="orders.work")
    assert origin_of(letter, default=DEFAULT) == Origin("", "orders.work")


@pytest.mark.parametrize(
    "fields",
    [
        {"origin_exchange": "", "origin_routing_key": ""},
        {"origin_exchange": "", "origin_routing_key": "orders.dlq", "reason": "unknown", "headers": {}},
    ],
)
def test_a_copy_of_unknown_origin_goes_to_the_orders(fields: dict[str, Any]) -> None:
    assert origin_of(a_letter(**fields), default=DEFAULT) == DEFAULT


def test_what_the_broker_itself_dead_lettered_has_an_origin() -> None:
    death = {"queue": "orders.work", "reason": "rejected", "exchange": "orders", "routing-keys": ["order.eu"]}
    delivery = Delivery(body=b"{}", headers={"x-death": [death]}, message_id="m", routing_key="order.eu")
    letter = dead_letter_from(delivery, order_id=None, now=NOW)
    assert letter.reason == "unknown"
    assert origin_of(letter, default=DEFAULT) == Origin("orders", "order.eu")


_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.binary(max_size=5), st.just([1, {"a": 2}])
)
_OWN = (
    *("trace_id", "traceparent", "tracestate", "attempt", "deferrals", "origin_exchange", "origin_routing_key"),
    *("origin_message_id", "dead_letter_id", "replay_id", "first_failed_at", "not_before", "error_chain", "x-death"),
)
_own = st.sampled_from(_OWN)


@given(headers=st.dictionaries(st.one_of(_own, st.text(max_size=12)), _values, max_size=12))
def test_whatever_the_headers_of_a_letter_hold_its_copy_is_read_as_a_fresh_first_try(
    headers: dict[str, object],
) -> None:
    letter = a_letter(headers=headers)
    sent = headers_of(letter)
    state = MessageState.read(Delivery(body=letter.body, headers=sent, message_id="new"), order_id=letter.order_id)
    assert state.ignored == ()
    assert (state.attempt, state.deferrals, state.first_failed_at, state.not_before) == (0, 0, None, None)
    assert (state.dead_letter_id, state.replay_id) == (letter.id, REPLAY_ID)
    assert state.trace.trace_id == letter.trace_id
    assert (state.origin_exchange, state.origin_routing_key) == ("orders", "order.placed")
    original = MessageState.read(Delivery(body=letter.body, headers=headers), order_id=letter.order_id)
    assert state.foreign == original.foreign


@given(headers=st.dictionaries(_own, _values, max_size=12))
def test_a_copy_that_fails_again_is_filed_as_the_same_letter(headers: dict[str, object]) -> None:
    letter = replace(a_letter(headers=headers), replay_id=REPLAY_ID, state=DeadLetterState.REPLAYING)
    letters = FakeDeadLetters()
    filing = DeadLetterFiling(dead_letters=letters, repository=FakeRepository(), worker_name="w", clock=lambda: NOW)
    failed_copy = Delivery(body=letter.body, headers=headers_of(letter), message_id="new")

    async def fail_again() -> DeadLetterRecord:
        await letters.insert(letter)
        return await filing.file(failed_copy)

    again = asyncio.run(fail_again())
    assert again.id == letter.id
    assert (again.state, again.replay_count) == (DeadLetterState.OPEN, letter.replay_count + 1)
