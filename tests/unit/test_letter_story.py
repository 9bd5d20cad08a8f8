"""A dead letter's replays and timeline, from its history."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import LetterEvent
from worker.domain.letter_story import ReplayEnd, ReplayStory, published, replays_of, timeline
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment


def second(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


def stories(*events: LetterEvent, **fields: Any) -> tuple[ReplayStory, ...]:
    return replays_of(a_letter(history=(LetterEvent(at=NOW, event="filed"), *events), **fields))


def replayed(number: int, replay_id: str = "r1", **more: Any) -> LetterEvent:
    return LetterEvent(at=second(number), event="replayed", replay_id=replay_id, by="anna", **more)


def happened(number: int, event: str, replay_id: str | None = None, **more: Any) -> LetterEvent:
    return LetterEvent(at=second(number), event=event, replay_id=replay_id, **more)


def test_a_letter_that_was_never_replayed_has_no_replays() -> None:
    assert stories() == ()


def test_a_replay_under_way_tells_who_sent_it_and_which_worker_took_it() -> None:
    (waiting,) = stories(replayed(1, job_id="j1"))
    assert (waiting.outcome, waiting.by, waiting.job_id, waiting.taken_by) == (ReplayEnd.ON_ITS_WAY, "anna", "j1", None)
    (taken,) = stories(replayed(1), happened(2, "taken", "r1", by="w-1"))
    assert (taken.outcome, taken.taken_by, taken.taken_at) == (ReplayEnd.ON_ITS_WAY, "w-1", second(2))


def test_each_replay_has_the_end_that_its_own_events_tell() -> None:
    found = stories(
        *(replayed(1, "r1"), happened(4, "failed_again", "r1", note="supplier_rejected")),
        *(replayed(5, "r2"), happened(6, "not_sent", "r2")),
        *(replayed(7, "r3"), happened(70, "abandoned")),
        *(replayed(80, "r4"), happened(90, "given_up", by="ben")),
        *(replayed(91, "r5"), happened(92, "taken", "r5", by="w"), happened(93, "resolved")),
    )
    assert [(story.outcome, story.ended_at) for story in found] == [
        (ReplayEnd.FAILED_AGAIN, second(4)),
        (ReplayEnd.NOT_SENT, second(6)),
        (ReplayEnd.ABANDONED, second(70)),
        (ReplayEnd.GIVEN_UP, second(90)),
        (ReplayEnd.RESOLVED, second(93)),
    ]


def test_the_last_failure_tells_its_error_and_earlier_ones_their_reason() -> None:
    first, last = stories(
        *(replayed(1, "r1"), happened(2, "failed_again", "r1", note="supplier_rejected")),
        *(replayed(3, "r2"), happened(4, "failed_again", "r2", note="attempts_exhausted")),
        error_message="SupplierUnavailableError: HTTP 503",
    )
    assert (first.error, last.error) == ("supplier_rejected", "SupplierUnavailableError: HTTP 503")


def test_another_copy_that_failed_is_no_end_of_the_replay() -> None:
    (story,) = stories(replayed(1), happened(2, "failed_again", None), happened(3, "failed_again", "another"))
    assert story.outcome is ReplayEnd.ON_ITS_WAY


def test_a_copy_that_turns_up_after_it_was_given_up_has_the_end_that_it_came_to() -> None:
    (story,) = stories(replayed(1), happened(2, "given_up"), happened(3, "failed_again", "r1"))
    assert (story.outcome, story.ended_at) == (ReplayEnd.FAILED_AGAIN, second(3))


def test_a_letter_resolved_by_another_copy_does_not_change_how_its_replay_ended() -> None:
    (story,) = stories(replayed(1), happened(2, "failed_again", "r1"), happened(3, "resolved"))
    assert story.outcome is ReplayEnd.FAILED_AGAIN


def test_each_replay_tells_which_body_went_out_even_when_the_history_was_cut() -> None:
    events = (replayed(1, "r1"), happened(2, "edited", "r2"), replayed(2, "r2"), replayed(3, "r3"))
    assert [story.version for story in stories(*events, version=1)] == [0, 1, 1]
    assert [story.version for story in stories(*events, version=4)] == [3, 4, 4]


_events = st.builds(
    LetterEvent,
    at=st.integers(0, 1000).map(second),
    event=st.sampled_from(
        ["replayed", "taken", "failed_again", "resolved", "not_sent", "abandoned", "given_up", "edited", "filed", "?"]
    ),
    replay_id=st.sampled_from([None, "r1", "r2"]),
)


@given(st.lists(_events, max_size=30), st.integers(0, 5))
def test_whatever_the_history_holds_there_is_one_story_for_each_replay(events: list[LetterEvent], version: int) -> None:
    found = replays_of(a_letter(history=tuple(events), version=version))
    replays = [event.replay_id for event in events if event.event == "replayed" and event.replay_id is not None]
    assert [story.replay_id for story in found] == replays


def test_the_timeline_goes_from_publish_to_now() -> None:
    letter = a_letter(published_at=second(-10), history=(LetterEvent(at=second(3), event="filed"),), order_id="A")
    other = a_letter(dead_lettered_at=second(1), order_id="A", state=DeadLetterState.RESOLVED)
    shipment = Shipment.for_order("A", "Oslo", trace_id="t", now=second(-15))
    entries = timeline(letter, shipment, [other])
    assert [(entry.of, entry.event.event) for entry in entries] == [
        ("message", "published"),
        ("shipment", "received"),
        ("other dead letter", "dead_lettered"),
        ("dead letter", "filed"),
    ]
    note = getattr(entries[2].event, "note", "")
    assert note == f"{other.id} · supplier_rejected, resolved · {other.error_message}"


def test_when_an_order_was_published_stands_first_whatever_the_publisher_s_clock_says() -> None:
    letters = [a_letter(published_at=second(2)), a_letter(published_at=second(1)), a_letter()]
    told = Shipment.for_order("A", "Oslo", trace_id="t", now=NOW, published_at=second(3))
    untold = Shipment.for_order("A", "Oslo", trace_id="t", now=NOW)
    assert [entry.event.at for entry in timeline(letters[0], told)] == [second(3), NOW, NOW]
    assert [entry.event.at for entry in published(untold, letters)] == [second(1)]
    assert published(untold, letters[2:]) == published(None, ()) == []


def test_a_timeline_of_a_letter_alone_is_its_history() -> None:
    letter = a_letter()
    assert [entry.event for entry in timeline(letter, None)] == list(letter.history)
