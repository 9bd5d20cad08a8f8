"""How a filed dead letter takes in what happens to its message."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.letters import NOW, a_letter
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.selection import DeadLetterState

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
RESOLVED, DISCARDED = DeadLetterState.RESOLVED, DeadLetterState.DISCARDED


def failure_of(
    letter: DeadLetterRecord, name: str, *, replay_id: str | None = None, after: int = 1
) -> DeadLetterRecord:
    """What the filing makes of the letter's message when it fails (again), `after` minutes later."""
    at = letter.dead_lettered_at + timedelta(minutes=after)
    return a_letter(
        id=letter.id,
        order_id=letter.order_id,
        replay_id=replay_id,
        first_failed_at=at,
        dead_lettered_at=at,
        error_message=f"failure {name}",
        filed=(f"{name}:{replay_id or ''}",),
        history=(LetterEvent(at=at, event="filed"),),
    )


def replaying(letter: DeadLetterRecord, replay_id: str) -> DeadLetterRecord:
    return replace(letter, state=REPLAYING, replay_id=replay_id)


@pytest.mark.parametrize("state", [OPEN, REPLAYING, RESOLVED])
def test_the_same_failure_delivered_again_changes_nothing(state: DeadLetterState) -> None:
    letter = a_letter(state=state, filed=("m:",))
    assert letter.absorb(failure_of(letter, "m")) is letter


def test_a_failure_under_a_known_message_id_opens_a_discarded_letter() -> None:
    """A publisher may use an id twice, and a discarded letter goes for good one day: rather once too often."""
    letter = a_letter(state=DISCARDED, filed=("m:",), replay_count=2, expires_at=NOW)
    again = letter.absorb(failure_of(letter, "m"))
    assert (again.state, again.expires_at, again.replay_count, again.filed) == (OPEN, None, 2, ("m:",))


def test_the_original_delivered_again_while_its_replay_is_under_way_changes_nothing() -> None:
    letter = replaying(a_letter(filed=("m:",)), "r1")
    assert letter.absorb(failure_of(letter, "m")) is letter


def test_a_replay_that_fails_again_reopens_the_letter_and_is_counted() -> None:
    letter = replaying(a_letter(), "r1")
    again = letter.absorb(failure_of(letter, "m", replay_id="r1"))
    assert (again.state, again.replay_count) == (OPEN, 1)
    assert (again.history[-1].event, again.history[-1].replay_id) == ("failed_again", "r1")
    assert again.error_message == "failure m"


def test_a_replays_failure_delivered_again_is_counted_once() -> None:
    letter = replaying(a_letter(), "r1")
    failure = failure_of(letter, "m", replay_id="r1")
    again = letter.absorb(failure)
    assert again.absorb(failure) is again
    next_one = replaying(again, "r2")
    assert next_one.absorb(failure) is next_one


def test_a_replay_that_was_taken_for_abandoned_and_fails_all_the_same_is_counted() -> None:
    letter = replace(replaying(a_letter(), "r1"), state=OPEN)
    again = letter.absorb(failure_of(letter, "m", replay_id="r1"))
    assert (again.state, again.replay_count) == (OPEN, 1)


def test_the_failure_of_an_earlier_copy_does_not_end_the_replay_under_way() -> None:
    letter = replaying(a_letter(), "r2")
    again = letter.absorb(failure_of(letter, "m", replay_id="r1"))
    assert (again.state, again.replay_id, again.replay_count) == (REPLAYING, "r2", 0)
    done = again.absorb(failure_of(again, "m", replay_id="r2"))
    assert (done.state, done.replay_count) == (OPEN, 1)


def test_another_copy_that_fails_while_the_letter_is_open_refreshes_it() -> None:
    letter = a_letter()
    again = letter.absorb(failure_of(letter, "other"))
    assert (again.state, again.replay_count) == (OPEN, 0)
    assert again.dead_lettered_at > letter.dead_lettered_at
    assert again.first_failed_at == letter.first_failed_at


@pytest.mark.parametrize("state", [RESOLVED, DISCARDED])
def test_a_new_failure_after_the_letter_was_closed_opens_it_again(state: DeadLetterState) -> None:
    letter = a_letter(state=state)
    assert letter.absorb(failure_of(letter, "other")).state is OPEN


def test_attempts_that_the_new_failure_does_not_know_are_kept() -> None:
    letter = a_letter()
    assert letter.absorb(replace(failure_of(letter, "other"), attempts=())).attempts == letter.attempts


class DeadLetterLife(RuleBasedStateMachine):
    """Anything that can happen to one dead letter, in any order."""

    @initialize()
    def file(self) -> None:
        self.failures = [a_letter()]
        self.letter = self.failures[0]
        self.replays: list[str] = []
        self.failed_replays: set[str] = set()
        self.counted = 0
        self.first_failed_at = self.letter.first_failed_at

    @precondition(lambda self: self.letter.state is OPEN)
    @rule()
    def claim(self) -> None:
        self.replays.append(f"r{len(self.replays)}")
        self.letter = replaying(self.letter, self.replays[-1])

    @precondition(lambda self: self.letter.state is REPLAYING)
    @rule()
    def give_back(self) -> None:
        self.letter = replace(self.letter, state=OPEN)

    @precondition(lambda self: self.letter.state in {OPEN, REPLAYING})
    @rule(state=st.sampled_from([RESOLVED, DISCARDED]))
    def close(self, state: DeadLetterState) -> None:
        self.letter = replace(self.letter, state=state)

    @precondition(lambda self: set(self.replays) - self.failed_replays)
    @rule(data=st.data())
    def a_replay_fails(self, data: st.DataObject) -> None:
        replay_id = data.draw(st.sampled_from(sorted(set(self.replays) - self.failed_replays)))
        self.failed_replays.add(replay_id)
        self.counted += replay_id == self.letter.replay_id
        self._absorb(failure_of(self.letter, "m", replay_id=replay_id))

    @rule()
    def another_copy_fails(self) -> None:
        self._absorb(failure_of(self.letter, f"m{len(self.failures)}"))

    @rule(data=st.data())
    def a_failure_is_delivered_again(self, data: st.DataObject) -> None:
        before = self.letter
        self.letter = before.absorb(data.draw(st.sampled_from(self.failures[-20:])))
        if before.state is DISCARDED:
            assert (self.letter.state, set(self.letter.filed)) == (OPEN, set(before.filed))
        else:
            assert self.letter is before

    @invariant()
    def it_is_the_same_letter_with_all_it_was_told(self) -> None:
        if not hasattr(self, "letter"):
            return
        assert self.letter.id == self.failures[0].id
        assert self.letter.replay_count == self.counted
        assert self.letter.first_failed_at == self.first_failed_at
        assert self.letter.replay_id == (self.replays[-1] if self.replays else None)
        assert len(self.letter.filed) <= 50
        assert len(self.letter.history) <= 100

    def _absorb(self, failure: DeadLetterRecord) -> None:
        before = self.letter
        self.failures.append(failure)
        self.letter = before.absorb(failure)
        assert self.letter.dead_lettered_at == failure.dead_lettered_at
        assert self.letter.history[-1].event == "failed_again"
        ended = failure.replay_id is not None and failure.replay_id == before.replay_id
        assert self.letter.state is (REPLAYING if before.state is REPLAYING and not ended else OPEN)


DeadLetterLife.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestDeadLetterLife = DeadLetterLife.TestCase


def test_the_history_is_bounded_and_keeps_the_newest() -> None:
    letter = a_letter()
    for number in range(150):
        letter = letter.absorb(failure_of(letter, f"m{number}"))
    assert (len(letter.history), len(letter.filed)) == (100, 50)
    assert letter.filed[-1] == "m149:"
    assert letter.history[-1].at == letter.dead_lettered_at
    assert letter.first_failed_at < NOW
