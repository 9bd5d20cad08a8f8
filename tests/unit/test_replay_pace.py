"""How fast a replay job goes, and when it stops by itself."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.letters import NOW
from worker.domain.replay_job import ItemState, JobState, ReplayItem, ReplayJob, ReplayOptions, ReplayTally
from worker.domain.replay_pace import (
    expected_end,
    is_overdue,
    letters_by,
    rate_at,
    seconds_for,
    why_canary_failed,
    why_stop,
)
from worker.domain.selection import Selection

rates = st.floats(0.01, 1000.0)
options = st.builds(lambda rate, start: ReplayOptions(rate=rate, start_rate=min(start, rate)), rates, rates)
seconds = st.floats(0.0, 100_000.0)


def ended(number: int, state: ItemState, **fields: Any) -> list[ReplayItem]:
    return [ReplayItem("j", f"{state}-{n}", size=1, state=state, ended_at=NOW, **fields) for n in range(number)]


def good(number: int) -> list[ReplayItem]:
    return ended(number, ItemState.RESOLVED)


def failed(number: int, *, as_: str = "aaa", why: str = "it is closed") -> list[ReplayItem]:
    return ended(number, ItemState.FAILED_AGAIN, failed_as=as_, why=why)


@given(options, seconds)
def test_the_rate_is_never_above_the_one_that_was_asked_for_nor_below_the_first(
    options: ReplayOptions, seconds: float
) -> None:
    assert options.start_rate * (1 - 1e-9) <= rate_at(options, seconds) <= options.rate


@given(options, seconds, seconds)
def test_the_rate_never_falls(options: ReplayOptions, one: float, other: float) -> None:
    assert rate_at(options, min(one, other)) <= rate_at(options, max(one, other))


def test_the_rate_doubles_every_ten_seconds_until_it_is_reached() -> None:
    options = ReplayOptions(rate=20.0, start_rate=1.0)
    assert [rate_at(options, after) for after in (-5, 0, 10, 20, 30, 40, 50, 10**9)] == [1, 1, 2, 4, 8, 16, 20, 20]


@given(options, st.floats(0.0, 300.0))
def test_the_letters_that_may_have_gone_out_are_the_sum_of_the_rate_over_time(
    options: ReplayOptions, seconds: float
) -> None:
    steps = 2_000
    width = seconds / steps
    summed = sum(rate_at(options, (step + 0.5) * width) for step in range(steps)) * width
    assert letters_by(options, seconds) == pytest.approx(summed, rel=1e-3, abs=1e-6)


@given(options, st.floats(0.0, 100_000.0), st.floats(0.0, 3_600.0))
def test_the_time_for_so_many_letters_is_the_time_in_which_they_go_out(
    options: ReplayOptions, letters: float, after: float
) -> None:
    needed = seconds_for(options, letters, after=after)
    gone = letters_by(options, after + needed) - letters_by(options, after)
    assert gone == pytest.approx(letters, rel=1e-6, abs=1e-3)


def a_job(state: JobState, **fields: Any) -> ReplayJob:
    options = ReplayOptions(rate=10.0, start_rate=10.0)
    job = ReplayJob("j", state, Selection(), options, "anna", "fixed", NOW, NOW, total=100)
    return replace(job, **fields)


def test_the_end_of_sending_is_expected_at_the_planned_pace() -> None:
    state, tally = JobState.RAMP, ReplayTally({ItemState.WAITING: 50})
    end = expected_end(a_job(state), tally, now=NOW)
    assert end is not None
    assert (end - NOW).total_seconds() == pytest.approx(5.0, abs=0.01)
    assert expected_end(a_job(state), ReplayTally(), now=NOW) == NOW


@pytest.mark.parametrize(
    "job",
    [
        a_job(JobState.CANARY),
        a_job(JobState.PAUSED),
        a_job(JobState.STOPPED),
        a_job(JobState.DONE),
        a_job(JobState.RAMP, total=None),
    ],
)
def test_where_nothing_says_when_no_end_is_expected(job: ReplayJob) -> None:
    assert expected_end(job, ReplayTally({ItemState.WAITING: 50}), now=NOW) is None


def test_more_than_the_share_failing_alike_stops_a_job_and_the_share_itself_does_not() -> None:
    options = ReplayOptions(stop_share=0.1)
    assert why_stop([*failed(10), *good(90)], options) is None
    why = why_stop([*failed(11), *good(89)], options)
    assert why == "11 of the last 100 failed in the same way, more than 10%: it is closed (dead letter failed_again-0)"


def test_failures_that_differ_are_not_added_up() -> None:
    options = ReplayOptions(stop_share=0.1)
    differing = [item for n in range(5) for item in failed(10, as_=f"f-{n}")]
    assert why_stop([*differing, *good(50)], options) is None
    assert why_stop([*differing, *failed(1, as_="f-3"), *good(49)], options) is not None


def test_before_ten_outcomes_a_share_says_nothing() -> None:
    assert why_stop(failed(9), ReplayOptions()) is None
    assert why_stop(failed(10), ReplayOptions()) is not None


def test_a_share_of_nothing_stops_at_the_first_failure_and_a_share_of_all_at_none() -> None:
    assert why_stop([*failed(1), *good(9)], ReplayOptions(stop_share=0.0)) is not None
    assert why_stop(good(100), ReplayOptions(stop_share=0.0)) is None
    assert why_stop(failed(100), ReplayOptions(stop_share=1.0)) is None


def test_copies_that_the_broker_refuses_count_by_what_it_said() -> None:
    refused = ended(2, ItemState.NOT_SENT, why="no queue is bound")
    other = ended(1, ItemState.NOT_SENT, why="a queue is full")
    assert why_stop([*refused, *good(8)], ReplayOptions(stop_share=0.1)) is not None
    assert why_stop([*refused[:1], *other, *good(8)], ReplayOptions(stop_share=0.1)) is None


@pytest.mark.parametrize("state", [ItemState.FAILED_AGAIN, ItemState.NOT_SENT])
def test_one_canary_that_fails_is_enough(state: ItemState) -> None:
    canaries = [*good(4), *ended(1, state, why="it is closed")]
    why = why_canary_failed(canaries, ReplayOptions(), now=NOW)
    assert why == f"the canary failed: it is closed (dead letter {state}-0)"


def test_a_canary_without_an_outcome_fails_when_it_is_overdue() -> None:
    options = ReplayOptions(overdue_after=60.0)
    waiting = ReplayItem("j", "x", size=1, state=ItemState.SENT, sent_at=NOW)
    assert why_canary_failed([waiting], options, now=NOW + timedelta(seconds=60)) is None
    why = why_canary_failed([waiting], options, now=NOW + timedelta(seconds=61))
    assert why == "the canary has no outcome after 60 s (dead letter x)"


@pytest.mark.parametrize("state", [ItemState.RESOLVED, ItemState.SKIPPED, ItemState.TAKEN_BACK])
def test_a_canary_that_did_not_fail_stops_nothing(state: ItemState) -> None:
    assert why_canary_failed(ended(1, state), ReplayOptions(), now=NOW) is None


@pytest.mark.parametrize("state", list(ItemState))
def test_only_a_copy_on_its_way_can_be_overdue(state: ItemState) -> None:
    item = ReplayItem("j", "x", size=1, state=state, sent_at=NOW)
    late = NOW + timedelta(hours=1)
    assert is_overdue(item, ReplayOptions(), now=late) is (state in {ItemState.SENT, ItemState.IN_DOUBT})
    assert not is_overdue(replace(item, sent_at=None), ReplayOptions(), now=late)
