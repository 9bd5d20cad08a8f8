"""What every `IDeadLetters` must do: the fake of the unit tests and the real store alike."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.selection import DeadLetterState, HourCount, Place, Selection
from worker.domain.shipment import HistoryEvent

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
RESOLVED, DISCARDED = DeadLetterState.RESOLVED, DeadLetterState.DISCARDED
LATER = NOW + timedelta(minutes=5)

Store = FakeDeadLetters | MongoDeadLetters


@pytest.fixture(params=["fake", "mongodb"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fake":
        yield FakeDeadLetters()
        return
    mongo: Mongo = request.getfixturevalue("mongo")
    opened = MongoStore(mongo.uri, database=mongo.database)
    await opened.ensure_indexes()
    yield MongoDeadLetters(opened)
    await opened.close()


async def put(store: Store, *letters: DeadLetterRecord) -> None:
    for letter in letters:
        assert await store.insert(letter) is None


async def found(store: Store, letter: DeadLetterRecord) -> DeadLetterRecord:
    stored = await store.get(letter.id)
    assert stored is not None
    return stored


async def ids(store: Store, selection: Selection, *, limit: int = 100, skip: int = 0) -> list[str]:
    return [letter.id async for letter in store.search(selection, limit=limit, skip=skip)]


async def test_a_letter_comes_back_as_it_was_stored(store: Store) -> None:
    letter = a_letter(
        body=b'\x00\xff{"n": 1.10}\r\n',
        headers={
            "text": "ünï",
            "n": 2**40,
            "none": None,
            "flag": True,
            "bytes": b"\x00",
            "table": {"list": [1, "a"]},
            "at": NOW,
        },
        order_id=None,
        attempts=(HistoryEvent(at=NOW, event="attempt_failed", attempt=1, worker="w", error_message="no", delay=1.5),),
        history=(LetterEvent(at=NOW, event="filed", note="malformed"),),
        error_chain=("A: b", "C: d"),
    )
    await put(store, letter)
    assert await found(store, letter) == letter


async def test_a_letter_that_is_not_there_is_none(store: Store) -> None:
    assert await store.get(str(uuid.uuid4())) is None


async def test_a_letter_is_inserted_once_and_the_second_insert_returns_the_first(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    assert await store.insert(replace(letter, error_message="another")) == letter
    assert await found(store, letter) == letter


async def test_of_concurrent_inserts_of_one_letter_one_is_the_first(store: Store) -> None:
    letter = a_letter()
    answers = await asyncio.gather(*(store.insert(letter) for _ in range(20)))
    assert answers.count(None) == 1


async def test_a_letter_is_replaced_when_it_is_as_expected(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    stored = await found(store, letter)
    assert await store.replace(replace(stored, replay_count=3), expected=stored)
    assert (await found(store, letter)).replay_count == 3


async def test_a_letter_that_changed_meanwhile_is_not_replaced(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    stored = await found(store, letter)
    assert await store.claim_for_replay(letter.id, replay_id="r1", by="anna", now=NOW)
    assert not await store.replace(replace(stored, replay_count=3), expected=stored)
    assert (await found(store, letter)).state is REPLAYING
    assert not await store.replace(stored, expected=replace(stored, id=str(uuid.uuid4())))


async def test_of_concurrent_replacements_one_wins(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    stored = await found(store, letter)
    answers = await asyncio.gather(
        *(store.replace(replace(stored, replay_count=n), expected=stored) for n in range(10))
    )
    assert answers.count(True) == 1


async def test_an_open_letter_is_claimed_for_replay(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    assert await store.claim_for_replay(letter.id, replay_id="r1", by="anna", now=LATER)
    stored = await found(store, letter)
    assert (stored.state, stored.replay_id) == (REPLAYING, "r1")
    assert stored.history[-1] == LetterEvent(at=LATER, event="replayed", replay_id="r1", by="anna")
    assert stored.history[:-1] == letter.history


async def test_of_concurrent_claims_one_wins(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    answers = await asyncio.gather(
        *(store.claim_for_replay(letter.id, replay_id=f"r{n}", by="anna", now=NOW) for n in range(20))
    )
    assert answers.count(True) == 1
    assert (await found(store, letter)).replay_id == f"r{answers.index(True)}"


@pytest.mark.parametrize("state", [REPLAYING, RESOLVED, DISCARDED])
async def test_a_letter_that_is_not_open_cannot_be_claimed(store: Store, state: DeadLetterState) -> None:
    letter = a_letter(state=state)
    await put(store, letter)
    assert not await store.claim_for_replay(letter.id, replay_id="r1", by="anna", now=NOW)
    assert await found(store, letter) == letter
    assert not await store.claim_for_replay(str(uuid.uuid4()), replay_id="r1", by="anna", now=NOW)


async def test_a_letter_given_back_is_open_and_can_be_claimed_again(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    await store.claim_for_replay(letter.id, replay_id="r1", by="anna", now=NOW)
    await store.give_back(letter.id, replay_id="r1", now=LATER)
    stored = await found(store, letter)
    assert stored.state is OPEN
    assert stored.history[-1] == LetterEvent(at=LATER, event="not_sent", replay_id="r1")
    assert await store.claim_for_replay(letter.id, replay_id="r2", by="ben", now=LATER)


async def test_only_the_replay_under_way_gives_a_letter_back(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    await store.claim_for_replay(letter.id, replay_id="r2", by="anna", now=NOW)
    await store.give_back(letter.id, replay_id="r1", now=LATER)
    assert (await found(store, letter)).state is REPLAYING
    await store.resolve(order_id=str(letter.order_id), letter_id=None, now=LATER)
    await store.give_back(letter.id, replay_id="r2", now=LATER)
    assert (await found(store, letter)).state is RESOLVED


async def test_a_replay_that_was_never_confirmed_is_reopened_after_its_time(store: Store) -> None:
    lost, fresh, confirmed, never_claimed = letters = [a_letter() for _ in range(4)]
    await put(store, *letters)
    await store.claim_for_replay(lost.id, replay_id="r1", by="anna", now=NOW)
    await store.claim_for_replay(fresh.id, replay_id="r2", by="anna", now=LATER)
    await store.claim_for_replay(confirmed.id, replay_id="r3", by="anna", now=NOW)
    await store.confirm_replay(confirmed.id, replay_id="r3", now=NOW)
    assert await store.reopen_abandoned(claimed_before=NOW + timedelta(seconds=1), now=LATER) == 1
    assert [(await found(store, letter)).state for letter in letters] == [OPEN, REPLAYING, REPLAYING, OPEN]
    assert (await found(store, lost)).history[-1] == LetterEvent(at=LATER, event="abandoned")
    assert (await found(store, never_claimed)) == never_claimed


async def test_the_confirm_of_an_earlier_replay_does_not_count_for_the_one_under_way(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    await store.claim_for_replay(letter.id, replay_id="r1", by="anna", now=NOW)
    await store.confirm_replay(letter.id, replay_id="r1", now=NOW)
    await store.give_back(letter.id, replay_id="r1", now=NOW)
    await store.claim_for_replay(letter.id, replay_id="r2", by="anna", now=NOW)
    await store.confirm_replay(letter.id, replay_id="r1", now=NOW)
    assert await store.reopen_abandoned(claimed_before=LATER, now=LATER) == 1


async def test_an_order_that_shipped_resolves_its_open_and_replaying_letters(store: Store) -> None:
    first, second, other = a_letter(order_id="A"), a_letter(order_id="A", state=REPLAYING), a_letter(order_id="B")
    discarded = a_letter(order_id="A", state=DISCARDED)
    await put(store, first, second, other, discarded)
    assert await store.resolve(order_id="A", letter_id=None, now=LATER) == 2
    assert (await found(store, first)).state is RESOLVED
    assert (await found(store, second)).history[-1] == LetterEvent(at=LATER, event="resolved")
    assert (await found(store, other)).state is OPEN
    assert (await found(store, discarded)).state is DISCARDED
    assert await store.resolve(order_id="A", letter_id=first.id, now=LATER) == 0


async def test_a_malformed_letter_of_the_order_is_resolved_only_when_it_is_named(store: Store) -> None:
    malformed = a_letter(order_id="A", reason="malformed")
    await put(store, malformed)
    assert await store.resolve(order_id="A", letter_id=None, now=LATER) == 0
    assert await store.resolve(order_id="A", letter_id=malformed.id, now=LATER) == 1


async def test_the_letter_that_is_named_is_resolved_whatever_its_order(store: Store) -> None:
    letter = a_letter(order_id=None)
    await put(store, letter)
    assert await store.resolve(order_id="A", letter_id=letter.id, now=LATER) == 1


async def test_a_letter_named_without_its_replay_is_left_alone(store: Store) -> None:
    letter = a_letter(order_id=None, replay_id="r-1")
    await put(store, letter)
    assert await store.resolve(order_id="A", letter_id=letter.id, now=LATER) == 0
    assert await store.resolve(order_id="A", letter_id=letter.id, replay_id="r-2", now=LATER) == 0
    assert await store.resolve(order_id="A", letter_id=letter.id, replay_id="r-1", now=LATER) == 1


async def test_a_search_yields_the_newest_first_without_bodies(store: Store) -> None:
    old, new = a_letter(dead_lettered_at=NOW), a_letter(dead_lettered_at=LATER)
    await put(store, old, new)
    letters = [letter async for letter in store.search(Selection(), limit=10)]
    assert letters == [replace(new, body=b"", filed=()), replace(old, body=b"", filed=())]


async def test_a_search_goes_page_by_page_without_gap_or_overlap(store: Store) -> None:
    letters = [a_letter(dead_lettered_at=NOW) for _ in range(7)]  # all of one moment: the id decides the order
    await put(store, *letters)
    pages = [await ids(store, Selection(), limit=3, skip=skip) for skip in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert sorted(sum(pages, [])) == sorted(letter.id for letter in letters)  # noqa: RUF017
    assert await ids(store, Selection()) == [*pages[0], *pages[1], *pages[2]]


async def test_a_search_goes_on_after_a_letter_whatever_was_filed_or_moved_meanwhile(store: Store) -> None:
    letters = [a_letter(dead_lettered_at=at) for at in (NOW, NOW, NOW, LATER, LATER)]
    await put(store, *letters)
    whole = await ids(store, Selection())
    times = {letter.id: letter.dead_lettered_at for letter in letters}
    for number, letter_id in enumerate(whole):
        await put(store, a_letter(dead_lettered_at=LATER + timedelta(hours=1)))  # pages by number would shift
        after = store.search(Selection(), limit=10, after=Place(times[letter_id], letter_id))
        assert [letter.id async for letter in after] == whole[number + 1 :]


async def test_every_field_of_a_selection_narrows_it(store: Store) -> None:
    wanted = a_letter(
        reason="malformed", fingerprint="fff", order_id="A", trace_id="T", state=RESOLVED, dead_lettered_at=LATER
    )
    await put(store, wanted, *(a_letter() for _ in range(3)))
    for selection in (
        Selection(ids=(wanted.id, str(uuid.uuid4()))),
        Selection(state=RESOLVED),
        Selection(reason="malformed"),
        Selection(group="fff"),
        Selection(order_id="A"),
        Selection(trace_id="T"),
        Selection(since=LATER),
        Selection(ids=(wanted.id,), state=RESOLVED, reason="malformed", group="fff", since=NOW),
    ):
        assert await ids(store, selection) == [wanted.id], selection
        assert await store.count(selection) == 1, selection
        assert [group.example_id for group in await store.groups(selection)] == [wanted.id], selection
    assert await store.count(Selection()) == 4
    assert await store.count(Selection(reason="malformed", order_id="B")) == 0
    assert await store.count(Selection(until=LATER)) == 3


async def test_since_is_included_and_until_is_not(store: Store) -> None:
    letter = a_letter(dead_lettered_at=NOW)
    await put(store, letter)
    a_moment = timedelta(milliseconds=1)
    assert await store.count(Selection(since=NOW, until=NOW + a_moment)) == 1
    assert await store.count(Selection(since=NOW + a_moment)) == 0
    assert await store.count(Selection(until=NOW)) == 0


async def test_a_value_of_a_selection_is_never_read_as_more_than_a_value(store: Store) -> None:
    await put(store, a_letter(order_id="A"))
    for text in ("$ne", ".*", "{'$ne': 1}", "A\x00", ""):
        assert await store.count(Selection(order_id=text, trace_id=text, group=text, reason=text)) == 0


async def test_groups_tell_the_newest_error_the_count_and_the_time_span(store: Store) -> None:
    old = a_letter(fingerprint="aaa", dead_lettered_at=NOW, error_message="old")
    new = a_letter(fingerprint="aaa", dead_lettered_at=LATER, error_message="new", error_type="NewError")
    single = a_letter(fingerprint="bbb")
    await put(store, single, new, old)
    first, second = await store.groups(Selection())
    assert (first.fingerprint, first.count, first.example_id) == ("aaa", 2, new.id)
    assert (first.error_type, first.error_message, first.reason) == ("NewError", "new", "supplier_rejected")
    assert (first.first_seen, first.last_seen) == (old.first_failed_at, LATER)
    assert (second.fingerprint, second.count) == ("bbb", 1)


async def test_ids_are_found_by_their_beginning(store: Store) -> None:
    names = ["aaaa1111", "aaaa2222", "bbbb1111", "abcd0000"]
    await put(store, *(a_letter(id=name) for name in names))
    assert await store.ids_starting_with(["aaaa"], limit=10) == ["aaaa1111", "aaaa2222"]
    assert await store.ids_starting_with(["aaaa", "b"], limit=10) == ["aaaa1111", "aaaa2222", "bbbb1111"]
    assert await store.ids_starting_with(["aaaa1111"], limit=10) == ["aaaa1111"]
    assert await store.ids_starting_with(["a"], limit=1) == ["aaaa1111"]
    assert await store.ids_starting_with(["c", ".*"], limit=10) == []
    assert await store.ids_starting_with([], limit=10) == []


async def test_the_history_of_a_letter_is_bounded_and_keeps_the_newest(store: Store) -> None:
    letter = a_letter()
    await put(store, letter)
    for number in range(60):
        at = datetime.fromtimestamp(number, UTC)
        await store.claim_for_replay(letter.id, replay_id=f"r{number}", by="anna", now=at)
        await store.give_back(letter.id, replay_id=f"r{number}", now=at)
    history = (await found(store, letter)).history
    assert len(history) == 100
    assert history[-1].replay_id == "r59"


async def test_letters_that_change_state_while_they_are_searched_are_yielded_at_most_once(store: Store) -> None:
    await put(store, *(a_letter(dead_lettered_at=NOW + timedelta(seconds=n)) for n in range(150)))
    seen = []
    async for letter in store.search(Selection(state=OPEN), limit=1000):
        seen.append(letter.id)
        await store.claim_for_replay(letter.id, replay_id="r", by="anna", now=NOW)
    assert len(seen) == len(set(seen)) == 150


async def test_headers_that_look_like_a_database_reference_come_back_as_they_were(store: Store) -> None:
    headers = {"$ref": "orders", "$id": 1, "table": {"$ref": "x", "$id": [{"$ref": "y"}]}, "$where": "1"}
    letter = a_letter(headers=headers)
    await put(store, letter)
    found = await store.get(letter.id)
    assert found is not None
    assert found.headers == headers


async def test_the_hours_tell_how_many_letters_were_dead_lettered_in_each(store: Store) -> None:
    half_past = NOW.replace(minute=30)
    await put(store, a_letter(dead_lettered_at=half_past), a_letter(dead_lettered_at=half_past + timedelta(minutes=29)))
    await put(store, a_letter(dead_lettered_at=half_past + timedelta(hours=2), reason="malformed"))
    hour = NOW.replace(minute=0)
    assert await store.hours(Selection()) == [HourCount(hour, 2), HourCount(hour + timedelta(hours=2), 1)]
    assert await store.hours(Selection(reason="malformed")) == [HourCount(hour + timedelta(hours=2), 1)]
    assert await store.hours(Selection(group="none")) == []
