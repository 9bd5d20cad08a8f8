"""Discarding and restoring dead letters, against fakes that keep the ports' contracts."""

from datetime import datetime, timedelta

import pytest

from tests.support.fake_audit import FakeAuditLog
from tests.support.fake_triage import FakeTriage
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.audit import Audit
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.errors import StoreUnavailableError
from worker.domain.selection import DeadLetterState, Selection
from worker.domain.selection_words import in_words
from worker.domain.triage import Triage, TriagePlan, TriageReport

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
RESOLVED, DISCARDED = DeadLetterState.RESOLVED, DeadLetterState.DISCARDED
RETENTION = timedelta(days=14)


class Room:
    """A triage service and what it works on."""

    def __init__(self, *letters: DeadLetterRecord) -> None:
        self.letters = FakeDeadLetters()
        self.letters.letters = {letter.id: letter for letter in letters}
        self.store = FakeTriage(self.letters)
        self.log = FakeAuditLog()
        self.now = NOW
        self.service = Triage(
            dead_letters=self.letters,
            triage=self.store,
            audit=Audit(self.log, clock=lambda: NOW),
            retention=RETENTION,
            overdue_after=timedelta(minutes=30),
            clock=self._clock,
        )

    def _clock(self) -> datetime:
        return self.now

    def state(self, letter: DeadLetterRecord) -> DeadLetterState:
        return self.letters.letters[letter.id].state

    async def discard(self, plan: TriagePlan) -> TriageReport:
        return await self.service.discard(plan, why="test orders", by="anna")

    async def restore(self, plan: TriagePlan) -> TriageReport:
        return await self.service.restore(plan, why="were real", by="anna")


async def test_what_matched_is_discarded_with_a_time_at_which_it_goes() -> None:
    wanted, other = a_letter(fingerprint="fff"), a_letter()
    room = Room(wanted, other)
    plan = await room.service.plan_discard(Selection(group="fff"))
    assert plan.ids == (wanted.id,)
    assert await room.discard(plan) == TriageReport(1, given_up=0, changed=0, expires_at=NOW + RETENTION)
    assert (room.state(wanted), room.state(other)) == (DISCARDED, OPEN)
    assert room.letters.letters[wanted.id].expires_at == NOW + RETENTION


async def test_a_plan_changes_nothing_and_counts_what_it_leaves_alone() -> None:
    letters = [a_letter(state=state) for state in (OPEN, OPEN, REPLAYING, RESOLVED, RESOLVED, DISCARDED)]
    room = Room(*letters)
    plan = await room.service.plan_discard(Selection())
    assert (plan.count, plan.left_alone) == (2, {REPLAYING: 1, RESOLVED: 2, DISCARDED: 1})
    plan = await room.service.plan_restore(Selection())
    assert (plan.count, plan.left_alone) == (1, {OPEN: 2, REPLAYING: 1, RESOLVED: 2})
    assert (await room.service.plan_discard(Selection(state=RESOLVED))).left_alone == {RESOLVED: 2}
    assert list(room.letters.letters.values()) == letters
    assert room.log.all == []


async def test_letters_named_that_the_filters_leave_out_are_counted() -> None:
    wanted, other = a_letter(reason="malformed"), a_letter()
    room = Room(wanted, other)
    plan = await room.service.plan_discard(Selection(ids=(wanted.id, other.id), reason="malformed"))
    assert (plan.ids, plan.not_matching) == ((wanted.id,), 1)


async def test_a_letter_that_arrives_after_the_plan_is_not_swept_in() -> None:
    room = Room(a_letter(fingerprint="fff"))
    plan = await room.service.plan_discard(Selection(group="fff"))
    newcomer = a_letter(fingerprint="fff")
    room.letters.letters[newcomer.id] = newcomer
    assert (await room.discard(plan)).moved == 1
    assert room.state(newcomer) is OPEN


@pytest.mark.parametrize("changed", [{"state": REPLAYING}, {"fingerprint": "other"}, {"dead_lettered_at": NOW}])
async def test_a_letter_that_changed_since_the_plan_is_left_alone_and_counted(changed: dict[str, object]) -> None:
    fields = {"fingerprint": "fff", "dead_lettered_at": NOW - timedelta(hours=2)}
    letter = a_letter(**fields)
    room = Room(letter)
    plan = await room.service.plan_discard(Selection(group="fff", until=NOW - timedelta(hours=1)))
    room.letters.letters[letter.id] = a_letter(**{**fields, "id": letter.id, **changed})
    report = await room.discard(plan)
    assert (report.moved, report.changed) == (0, 1)
    assert room.state(letter) is not DISCARDED


async def test_a_large_group_goes_a_thousand_at_a_time() -> None:
    room = Room(*(a_letter() for _ in range(2500)))
    sizes: list[int] = []

    async def note(_: str, selection: Selection) -> None:
        sizes.append(len(selection.ids))

    room.store.before_write = note
    assert (await room.discard(await room.service.plan_discard(Selection()))).moved == 2500
    assert sizes == [1000, 1000, 500]


async def test_a_discard_that_broke_off_says_how_far_it_came_and_is_finished_by_doing_it_again() -> None:
    room = Room(*(a_letter() for _ in range(2500)))
    writes = 0

    async def fail_later(_: str, __: Selection) -> None:
        nonlocal writes
        writes += 1
        if writes == 2:
            raise StoreUnavailableError("MongoDB does not answer")

    room.store.before_write = fail_later
    with pytest.raises(StoreUnavailableError):
        await room.discard(await room.service.plan_discard(Selection()))
    (entry,) = room.log.all
    assert (entry.count, entry.result) == (1000, "refused: MongoDB does not answer")
    assert (await room.discard(await room.service.plan_discard(Selection()))).moved == 1500


async def test_doing_the_same_plan_twice_moves_nothing_more() -> None:
    room = Room(a_letter())
    plan = await room.service.plan_discard(Selection())
    await room.discard(plan)
    assert (await room.discard(plan)).moved == 0


async def test_what_was_discarded_is_restored() -> None:
    letter = a_letter()
    room = Room(letter)
    await room.discard(await room.service.plan_discard(Selection()))
    assert await room.restore(await room.service.plan_restore(Selection())) == TriageReport(1, given_up=0, changed=0)
    stored = room.letters.letters[letter.id]
    assert (stored.state, stored.expires_at) == (OPEN, None)
    assert [event.event for event in stored.history] == ["filed", "discarded", "restored"]


async def test_an_overdue_replay_is_given_up_when_its_letter_is_named_and_only_then() -> None:
    letter, young = a_letter(), a_letter()
    room = Room(letter, young)
    await room.letters.claim_for_replay(letter.id, replay_id="r1", by="ben", now=NOW - timedelta(minutes=31))
    await room.letters.claim_for_replay(young.id, replay_id="r2", by="ben", now=NOW - timedelta(minutes=29))
    assert (await room.service.plan_restore(Selection())).overdue == ()
    plan = await room.service.plan_restore(Selection(ids=(letter.id, young.id)))
    assert (plan.ids, plan.overdue, plan.left_alone, plan.not_matching) == ((), (letter.id,), {REPLAYING: 1}, 0)
    assert await room.restore(plan) == TriageReport(0, given_up=1, changed=0)
    assert (room.state(letter), room.state(young)) == (OPEN, REPLAYING)


async def test_a_replay_that_ended_before_it_was_given_up_is_left_alone() -> None:
    letter = a_letter()
    room = Room(letter)
    await room.letters.claim_for_replay(letter.id, replay_id="r1", by="ben", now=NOW - timedelta(hours=1))
    plan = await room.service.plan_restore(Selection(ids=(letter.id,)))
    await room.letters.resolve(order_id=None, letter_id=letter.id, replay_id="r1", now=NOW)
    assert await room.restore(plan) == TriageReport(0, given_up=0, changed=1)
    assert room.state(letter) is RESOLVED


async def test_every_action_says_who_did_what_to_how_many_and_why() -> None:
    room = Room(a_letter(fingerprint="fff"), a_letter(fingerprint="fff"))
    await room.discard(await room.service.plan_discard(Selection(group="fff")))
    await room.restore(await room.service.plan_restore(Selection(group="fff")))
    assert [(entry.action, entry.who, entry.why, entry.count, entry.result) for entry in room.log.all] == [
        ("discard", "anna", "test orders", 2, "done"),
        ("restore", "anna", "were real", 2, "done"),
    ]
    assert room.log.all[0].what == "2 dead letters (group fff)"


async def test_nothing_is_done_that_cannot_be_written_down_first() -> None:
    letter = a_letter()
    room = Room(letter)
    plan = await room.service.plan_discard(Selection())
    room.log.is_down = True
    with pytest.raises(StoreUnavailableError):
        await room.discard(plan)
    assert room.state(letter) is OPEN


def test_a_selection_is_told_in_words() -> None:
    assert in_words(Selection()) == "all"
    told = in_words(Selection(reason="supplier_rejected", group="a_b", since=NOW))
    assert told == "reason supplier_rejected, group a_b, since 2026-03-01T12:00:00Z"
    assert in_words(Selection(ids=("a", "b"), state=OPEN)) == "id a, b, state open"
    assert in_words(Selection(ids=tuple("abcde"), order_id="A-1")) == "5 ids, order id A-1"
