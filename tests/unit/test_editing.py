"""Editing and replaying a dead letter, against fakes that keep the ports' contracts."""

import asyncio
import itertools
import json
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.fake_audit import FakeAuditLog
from tests.support.fake_edits import FakeLetterEdits
from tests.support.fakes import FakeDeadLetters, FakeReplayPublisher
from tests.support.letters import NOW, a_letter
from worker.domain.audit import Audit
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.edit import Edit, EditReport, EditResult
from worker.domain.editing import Editing
from worker.domain.errors import (
    BrokerUnavailableError,
    EditConflictError,
    EditRefusedError,
    StoreUnavailableError,
    UnroutableError,
)
from worker.domain.letter_story import ReplayEnd, replays_of
from worker.domain.letter_versions import LetterVersions
from worker.domain.order import parse_order
from worker.domain.replay import Origin
from worker.domain.selection import DeadLetterState

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING


def order(order_id: str | None, destination: str = "Bergen", **more: Any) -> bytes:
    return json.dumps({"order_id": order_id, "destination": destination, **more}).encode()


class Room:
    """The service and what it works on."""

    def __init__(self, *letters: DeadLetterRecord) -> None:
        self.letters = FakeDeadLetters()
        self.letters.letters = {letter.id: letter for letter in letters}
        self.edits = FakeLetterEdits(self.letters)
        self.publisher = FakeReplayPublisher()
        self.log = FakeAuditLog()
        self.versions = LetterVersions(self.edits)
        numbers = itertools.count(1)
        self.service = Editing(
            dead_letters=self.letters,
            edits=self.edits,
            publisher=self.publisher,
            audit=Audit(self.log, clock=lambda: NOW),
            default_origin=Origin("orders", "order.placed"),
            check={LetterKind.ORDER: lambda body: parse_order(body).order_id},
            clock=lambda: NOW,
            new_id=lambda: str(uuid.UUID(int=next(numbers))),
        )

    def stored(self, letter: DeadLetterRecord) -> DeadLetterRecord:
        return self.letters.letters[letter.id]

    async def edit(self, letter: DeadLetterRecord, body: bytes | None = None, **more: Any) -> Edit:
        body = order(letter.order_id) if body is None else body
        return self.service.prepare(await self.service.load(letter.id), body=body, **more)

    async def send(self, edit: Edit, by: str = "anna") -> EditReport:
        return await self.service.send(edit, by=by, why="wrong town")


async def test_an_edited_letter_goes_out_once_with_its_new_body_and_the_old_one_is_kept() -> None:
    letter = a_letter()
    room = Room(letter)
    report = await room.send(await room.edit(letter))
    (copy,) = room.publisher.copies
    assert (copy.exchange, copy.routing_key, copy.body) == ("orders", "order.placed", order(letter.order_id))
    assert (copy.headers["dead_letter_id"], copy.headers["replay_id"]) == (letter.id, report.replay_id)
    assert copy.headers["attempt"] == 0
    stored = room.stored(letter)
    assert (stored.state, stored.body, stored.version) == (REPLAYING, copy.body, 1)
    first, second = await room.versions.of(stored)
    assert (first.number, first.by, first.size) == (0, None, len(letter.body))
    assert (second.number, second.by, second.why, second.replay_id) == (1, "anna", "wrong town", report.replay_id)
    assert await room.versions.body(stored, 0) == letter.body
    assert await room.versions.body(stored, 1) == copy.body
    assert await room.letters.reopen_abandoned(claimed_before=NOW + timedelta(days=1), now=NOW) == 0


async def test_of_two_operators_who_press_at_once_one_sends_and_the_other_is_told_who() -> None:
    letter = a_letter()
    room = Room(letter)
    edits = [await room.edit(letter, order(letter.order_id, town)) for town in ("Bergen", "Narvik")]
    both = await asyncio.gather(room.send(edits[0], by="anna"), room.send(edits[1], by="ben"), return_exceptions=True)
    (conflict,) = [answer for answer in both if isinstance(answer, EditConflictError)]
    assert len(room.publisher.copies) == 1
    assert "is being replayed by" in str(conflict)
    assert "since 2026-03-01 12:00:00 UTC" in str(conflict)
    assert sorted(str(entry.result)[:8] for entry in room.log.all) == ["done", "refused:"]


async def test_a_letter_is_loaded_at_the_revision_that_the_operator_sees_or_not_at_all() -> None:
    letter = a_letter()
    room = Room(letter)
    assert await room.service.load(letter.id, revision=letter.revision) == letter
    with pytest.raises(EditConflictError, match="changed since it was read"):
        await room.service.load(letter.id, revision=letter.revision + 1)


async def test_an_edit_and_a_replay_at_once_send_one_copy() -> None:
    letter = a_letter()
    room = Room(letter)
    edit = await room.edit(letter)
    await room.letters.claim_for_replay(letter.id, replay_id="r0", by="ben", now=NOW)
    with pytest.raises(EditConflictError, match="is being replayed by ben"):
        await room.send(edit)
    assert room.publisher.copies == []
    assert room.stored(letter).body == letter.body


async def test_a_letter_that_failed_again_since_it_was_read_is_a_conflict() -> None:
    letter = a_letter()
    room = Room(letter)
    edit = await room.edit(letter)
    again = letter.absorb(replace(a_letter(id=letter.id), filed=("m2:",)))
    await room.letters.replace(again, expected=letter)
    with pytest.raises(EditConflictError, match="changed since it was read \\(failed_again, 12:00:00 UTC\\)"):
        await room.send(edit)
    assert room.publisher.copies == []


@pytest.mark.parametrize("state", [state for state in DeadLetterState if state is not OPEN])
async def test_a_letter_that_is_not_open_is_not_edited(state: DeadLetterState) -> None:
    letter = a_letter(state=state)
    with pytest.raises(EditConflictError, match=letter.id):
        await Room(letter).service.load(letter.id)


async def test_a_letter_that_is_gone_is_not_edited() -> None:
    with pytest.raises(EditConflictError, match="is gone"):
        await Room().service.load("nobody")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"order_id": "A"}', b'{"order_id": "A", "order_id": "A", "destination": "B"}']
)
async def test_a_body_that_is_no_order_is_refused_and_changes_nothing(body: bytes) -> None:
    letter = a_letter(order_id=None)
    room = Room(letter)
    with pytest.raises(EditRefusedError, match="the edited body is not valid: "):
        await room.edit(letter, body)
    assert room.stored(letter) == letter


async def test_the_order_id_may_not_change() -> None:
    letter = a_letter()
    with pytest.raises(EditRefusedError, match=r"the order id may not change .* publish a new order instead"):
        await Room(letter).edit(letter, order("another"))


async def test_a_letter_whose_order_id_was_not_readable_gets_one() -> None:
    letter = a_letter(order_id=None, body=b'{"order_id": 17}', reason="malformed")
    room = Room(letter)
    await room.send(await room.edit(letter, order("17")))
    assert room.stored(letter).order_id == "17"


async def test_what_is_not_changed_is_refused() -> None:
    letter = a_letter()
    with pytest.raises(EditRefusedError, match="nothing changed: use 'replay'"):
        await Room(letter).edit(letter, letter.body)


async def test_a_kind_without_a_check_cannot_be_edited() -> None:
    letter = a_letter(kind=LetterKind.DELIVERED)
    with pytest.raises(EditRefusedError, match="cannot be edited"):
        await Room(letter).edit(letter)


@pytest.mark.parametrize(
    "name",
    ["attempt", "trace_id", "replay_id", "origin_routing_key", "x-death", "x-first-death-queue", "x-delivery-count"],
)
async def test_a_locked_header_is_refused(name: str) -> None:
    letter = a_letter()
    for value in ("1", None):
        with pytest.raises(EditRefusedError, match="is locked"):
            await Room(letter).edit(letter, headers={name: value})


@pytest.mark.parametrize("name", ["CC", "BCC"])
async def test_further_routing_keys_can_be_dropped_and_not_set(name: str) -> None:
    """RabbitMQ would send copies to them, and answers a text with an error that closes the channel."""
    letter = a_letter(headers={name: ["order.placed"], "origin_routing_key": "order.placed"})
    with pytest.raises(EditRefusedError, match="can only be dropped"):
        await Room(letter).edit(letter, headers={name: "order.placed"})
    edited = await Room(letter).edit(letter, headers={name: None})
    assert name not in edited.after.headers


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 129])
async def test_a_header_name_that_is_none_is_refused(name: str) -> None:
    letter = a_letter()
    with pytest.raises(EditRefusedError, match="header's name"):
        await Room(letter).edit(letter, headers={name: "1"})


async def test_a_header_that_is_not_there_cannot_be_dropped_and_one_that_is_too_long_not_be_set() -> None:
    letter = a_letter()
    with pytest.raises(EditRefusedError, match="no header 'x-tenant' to drop"):
        await Room(letter).edit(letter, headers={"x-tenant": None})
    with pytest.raises(EditRefusedError, match="too long"):
        await Room(letter).edit(letter, headers={"x-tenant": "x" * 4097})


async def test_the_publishers_headers_are_set_and_dropped_alone_or_with_the_body() -> None:
    letter = a_letter(headers={"x-tenant": "acme", "x-old": 1, "origin_routing_key": "order.placed", "attempt": 3})
    room = Room(letter)
    edit = await room.edit(letter, letter.body, headers={"x-tenant": "zeta", "x-old": None})
    assert edit.header_changes == {"x-old": (1, None), "x-tenant": ("acme", "zeta")}
    assert edit.body_changes == []
    await room.send(edit)
    (copy,) = room.publisher.copies
    assert (copy.headers["x-tenant"], "x-old" in copy.headers, copy.body) == ("zeta", False, letter.body)
    assert room.stored(letter).headers["x-tenant"] == "zeta"
    kept = room.edits.kept[letter.id, 0]
    assert kept.headers == letter.headers


async def test_a_copy_can_be_sent_elsewhere() -> None:
    letter = a_letter()
    room = Room(letter)
    await room.send(await room.edit(letter, letter.body, routing_key="order.eu"))
    (copy,) = room.publisher.copies
    assert (copy.routing_key, copy.headers["origin_routing_key"]) == ("order.eu", "order.eu")


async def test_the_difference_is_that_of_the_laid_out_bodies() -> None:
    letter = a_letter(order_id="A", body=b'{"order_id":"A","n":1.10,"destination":"Oslo"}')
    edit = await Room(letter).edit(letter, b'{"order_id": "A", "n": 1.10, "destination": "Bergen"}')
    changed = [line for line in edit.body_changes if line[0] in "+-" and line[:3] not in {"+++", "---"}]
    assert changed == ['-  "destination": "Oslo"', '+  "destination": "Bergen"']


async def test_a_refused_copy_leaves_the_letter_open_with_the_edited_body() -> None:
    letter = a_letter()
    room = Room(letter)
    room.publisher.refuse = lambda _: UnroutableError("no queue is bound")
    report = await room.send(await room.edit(letter))
    assert (report.result, report.why) == (EditResult.NOT_SENT, "no queue is bound")
    stored = room.stored(letter)
    assert (stored.state, stored.version, stored.body) == (OPEN, 1, order(letter.order_id))
    assert replays_of(stored)[0].outcome is ReplayEnd.NOT_SENT
    assert [(entry.count, entry.result) for entry in room.log.all] == [(0, "refused: no queue is bound")]


async def test_a_copy_of_which_nobody_knows_stays_replaying_until_the_sweep() -> None:
    letter = a_letter()
    room = Room(letter)
    room.publisher.refuse = lambda _: BrokerUnavailableError("no answer in time")
    report = await room.send(await room.edit(letter))
    assert report.result is EditResult.UNKNOWN
    assert room.stored(letter).state is REPLAYING
    assert await room.letters.reopen_abandoned(claimed_before=NOW + timedelta(days=1), now=NOW) == 1
    assert (room.stored(letter).state, room.stored(letter).version) == (OPEN, 1)


@pytest.mark.parametrize(("write", "sent"), [("claim_edited", False), ("confirm_replay", True), ("give_back", False)])
async def test_a_store_that_does_not_answer_is_told_with_what_is_known(write: str, sent: bool) -> None:
    letter = a_letter()
    room = Room(letter)
    edit = await room.edit(letter)

    async def fail(name: str) -> None:
        if name == write:
            raise StoreUnavailableError("MongoDB does not answer")

    room.letters.before_write = fail
    if write == "give_back":
        room.publisher.refuse = lambda _: UnroutableError("no queue is bound")
    if not sent:
        with pytest.raises(StoreUnavailableError):
            await room.send(edit)
        assert room.publisher.copies == []
        return
    report = await room.send(edit)
    assert (report.result, report.why) == (EditResult.UNKNOWN, "sent, but not noted: MongoDB does not answer")


async def test_nothing_is_sent_that_cannot_be_written_down_first() -> None:
    letter = a_letter()
    room = Room(letter)
    edit = await room.edit(letter)
    room.log.is_down = True
    with pytest.raises(StoreUnavailableError):
        await room.send(edit)
    assert (room.publisher.copies, room.stored(letter)) == ([], letter)


async def test_an_edited_copy_that_fails_again_keeps_its_body_and_all_earlier_ones() -> None:
    letter = a_letter()
    room = Room(letter)
    for number, town in enumerate(("Bergen", "Narvik")):
        report = await room.send(await room.edit(letter, order(letter.order_id, town)))
        failure = replace(
            a_letter(id=letter.id, replay_id=report.replay_id, filed=(f"m:{number}",)), order_id=letter.order_id
        )
        room.letters.letters[letter.id] = room.stored(letter).absorb(failure)
    stored = room.stored(letter)
    assert (stored.state, stored.replay_count, stored.version) == (OPEN, 2, 2)
    assert [await room.versions.body(stored, number) for number in range(3)] == [
        letter.body,
        order(letter.order_id, "Bergen"),
        order(letter.order_id, "Narvik"),
    ]
    assert [version.number for version in await room.versions.of(stored)] == [0, 1, 2]
    assert [replay.version for replay in replays_of(stored)] == [1, 2]


async def test_a_version_that_there_is_not_is_refused() -> None:
    letter = a_letter()
    room = Room(letter)
    for number in (1, 7):
        with pytest.raises(EditRefusedError, match=f"there is no version {number}"):
            await room.versions.body(letter, number)


async def test_the_outcome_of_an_edit_is_that_of_its_own_replay() -> None:
    letter = a_letter()
    room = Room(letter)
    report = await room.send(await room.edit(letter))
    waiting = await room.service.outcome(letter.id, report.replay_id)
    assert waiting is not None
    assert waiting.outcome is ReplayEnd.ON_ITS_WAY
    await room.letters.resolve(order_id=None, letter_id=letter.id, replay_id=report.replay_id, now=NOW)
    resolved = await room.service.outcome(letter.id, report.replay_id)
    assert resolved is not None
    assert resolved.outcome is ReplayEnd.RESOLVED
    assert await room.service.outcome(letter.id, "another") is None
