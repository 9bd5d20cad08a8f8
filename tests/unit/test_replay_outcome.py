"""What a dead letter tells about one replay of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.replay_job import ItemState, ReplayItem
from worker.domain.replay_outcome import outcome_of, was_claimed, was_taken
from worker.domain.selection import DeadLetterState

LATER = NOW + timedelta(minutes=1)
OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
SENT = ReplayItem("job", "letter", size=1, state=ItemState.SENT, sent_at=NOW)


def letter(state: DeadLetterState, *events: str, replay_id: str | None = None, **fields: str) -> DeadLetterRecord:
    """A letter that was replayed by the job, to which these things happened then."""
    its_own = replay_id or SENT.replay_id
    history = [LetterEvent(at=NOW, event=event, replay_id=its_own) for event in ("replayed", *events)]
    return replace(a_letter(id="letter", state=state, replay_id=its_own, **fields), history=tuple(history))


def outcome(of: DeadLetterRecord) -> ReplayItem | None:
    return outcome_of(SENT, of, now=LATER)


def test_the_same_letter_of_the_same_job_has_the_same_replay_whoever_asks() -> None:
    assert SENT.replay_id == replace(SENT, state=ItemState.WAITING, size=7).replay_id
    assert SENT.replay_id not in {replace(SENT, job_id="x").replay_id, replace(SENT, letter_id="x").replay_id}


@pytest.mark.parametrize("events", [(), ("taken",), ("sent_again",)])
def test_a_letter_that_is_replaying_has_no_outcome_yet(events: tuple[str, ...]) -> None:
    assert outcome(letter(REPLAYING, *events)) is None


def test_a_letter_that_is_resolved_is_resolved_whoever_did_it() -> None:
    for found in (letter(DeadLetterState.RESOLVED), letter(DeadLetterState.RESOLVED, replay_id="another")):
        assert outcome(found) == replace(SENT, state=ItemState.RESOLVED, ended_at=LATER)


def test_a_letter_that_is_open_after_its_copy_failed_has_failed_again_with_the_new_fingerprint() -> None:
    found = outcome(letter(OPEN, "taken", "failed_again", error_message="closed", fingerprint="fff"))
    assert found == replace(SENT, state=ItemState.FAILED_AGAIN, ended_at=LATER, why="closed", failed_as="fff")


def test_a_copy_that_failed_again_has_failed_whatever_was_done_with_the_letter_since() -> None:
    for state in (DeadLetterState.DISCARDED, REPLAYING, OPEN):
        failed = letter(state, "failed_again")
        since = replace(failed, replay_id="another", history=(*failed.history, LetterEvent(NOW, "replayed", "another")))
        found = outcome(since)
        assert found is not None
        assert found.state is ItemState.FAILED_AGAIN


def test_the_failure_of_another_replay_is_not_the_outcome_of_this_one() -> None:
    ours = letter(REPLAYING)
    before = LetterEvent(at=NOW, event="failed_again", replay_id="an-earlier-one")
    assert outcome(replace(ours, history=(before, *ours.history))) is None


def test_a_copy_that_the_broker_refused_was_not_sent_and_the_reason_is_kept() -> None:
    refused = letter(OPEN)
    event = LetterEvent(at=NOW, event="not_sent", replay_id=SENT.replay_id, note="no queue is bound")
    found = outcome(replace(refused, history=(*refused.history, event)))
    assert found == replace(SENT, state=ItemState.NOT_SENT, ended_at=LATER, why="no queue is bound")


@pytest.mark.parametrize("state", [OPEN, DeadLetterState.DISCARDED])
def test_a_letter_that_left_the_replay_without_an_outcome_was_taken_back_and_by_whom_is_said(
    state: DeadLetterState,
) -> None:
    given_up = letter(state)
    history = (*given_up.history, LetterEvent(at=NOW, event="given_up", by="ben"))
    found = outcome(replace(given_up, history=history))
    assert found == replace(SENT, state=ItemState.TAKEN_BACK, ended_at=LATER, why="the letter was taken back by ben")


def test_a_letter_that_is_in_another_replay_was_taken_back() -> None:
    found = outcome(letter(REPLAYING, replay_id="another"))
    assert found is not None
    assert (found.state, found.why) == (ItemState.TAKEN_BACK, "the letter was taken back")


def test_a_copy_is_proved_by_a_worker_that_took_it_in_this_replay() -> None:
    assert was_taken(SENT, letter(REPLAYING, "taken"))
    assert not was_taken(SENT, letter(REPLAYING))
    assert not was_taken(SENT, letter(REPLAYING, "taken", replay_id="another"))


def test_a_letter_was_claimed_when_it_is_in_this_replay_or_ever_was() -> None:
    assert was_claimed(SENT, letter(REPLAYING))
    assert was_claimed(SENT, replace(letter(OPEN, "failed_again"), replay_id="another"))
    assert was_claimed(SENT, replace(letter(REPLAYING), history=()))
    assert not was_claimed(SENT, a_letter(id="letter"))
    assert not was_claimed(SENT, letter(REPLAYING, replay_id="another"))
