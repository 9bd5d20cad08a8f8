"""The retry policy: properties of a pure function."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.errors import (
    CircuitBreakerOpenException,
    EarlyNoticeError,
    LogisticsError,
    MalformedMessageError,
    MalformedNoticeError,
    MalformedOrderError,
    StoreUnavailableError,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
    SupplierUnavailableError,
    UnknownShipmentError,
)
from worker.domain.outcome import DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.retry import DEFAULT_DELAYS, HOLD_LIMIT, Delay, RetryPolicy

NOW = 1_772_366_400_000
DAY = 86400.0

seconds = st.floats(0, 10 * DAY)
waits = st.none() | seconds
final = st.sampled_from(
    [
        *(MalformedOrderError("not JSON"), MalformedNoticeError("not JSON"), SupplierRejectedError("no")),
        UnknownShipmentError("no such shipment"),
    ]
)
early_notice = st.builds(EarlyNoticeError, st.just("PENDING"))
unavailable = st.builds(lambda asked: SupplierUnavailableError("later", retry_after=asked), waits)
plain = st.sampled_from([SupplierOutcomeUnknownError("cut"), RuntimeError("ours"), LogisticsError("?"), OSError()])
tries = unavailable | plain
store_down = st.builds(StoreUnavailableError, st.just("away"))
circuit_open = st.builds(CircuitBreakerOpenException, seconds)
errors = final | tries | store_down | circuit_open | early_notice

delays = st.lists(
    st.sampled_from(["200ms", "1s", "5s", "30s", "2m", "10m", "1h", "1d"]).map(Delay.parse), min_size=1, max_size=8
)
policies = st.builds(RetryPolicy, delays=delays, max_attempts=st.integers(1, 30), max_age=st.floats(1.0, 30 * DAY))
attempts = st.integers(0, 40)
ages = st.none() | st.integers(0, 40 * int(DAY) * 1000)
chances = st.floats(0, 1, exclude_max=True)


def decide(
    policy: RetryPolicy,
    error: BaseException,
    *,
    attempt: int = 0,
    deferrals: int = 0,
    age: int | None = None,
    chance: float = 0.0,
) -> Outcome:
    first = None if age is None else NOW - age
    return policy.decide(error, attempt=attempt, deferrals=deferrals, first_failed_at=first, now=NOW, chance=chance)


def retried(policy: RetryPolicy, error: BaseException, *, attempt: int = 0, chance: float = 0.0) -> Retry:
    outcome = decide(replace(policy, max_attempts=1000), error, attempt=attempt, chance=chance)
    assert isinstance(outcome, Retry)
    return outcome


def length(policy: RetryPolicy, label: str) -> float:
    return next(delay.seconds for delay in policy.delays if delay.label == label)


@pytest.mark.parametrize("age", [0, 86_400_000, 10**12])
def test_a_circuit_opened_by_hand_makes_no_dead_letter_however_old_the_order_is(age: int) -> None:
    error = CircuitBreakerOpenException(10.0, by_hand="circuit opened by hand by ann: audit")
    outcome = RetryPolicy().decide(error, attempt=5, first_failed_at=1, now=1 + age, chance=0.0)
    assert isinstance(outcome, Defer)
    assert (outcome.queue, outcome.not_before) == ("30s", 1 + age + 10_000)


@given(policies, errors, attempts, ages, chances)
def test_the_same_question_has_the_same_answer(
    policy: RetryPolicy, error: BaseException, attempt: int, age: int | None, chance: float
) -> None:
    answers = [decide(policy, error, attempt=attempt, age=age, chance=chance) for _ in range(2)]
    assert answers[0] == answers[1]


@given(policies, errors, attempts, ages, chances)
def test_every_error_has_the_outcome_of_the_table(
    policy: RetryPolicy, error: BaseException, attempt: int, age: int | None, chance: float
) -> None:
    outcome = decide(policy, error, attempt=attempt, age=age, chance=chance)
    match error:
        case MalformedMessageError():
            assert outcome == DeadLetter(DeadLetterReason.MALFORMED, error)
        case SupplierRejectedError():
            assert outcome == DeadLetter(DeadLetterReason.SUPPLIER_REJECTED, error)
        case UnknownShipmentError():
            assert outcome == DeadLetter(DeadLetterReason.UNKNOWN_SHIPMENT, error)
        case StoreUnavailableError():
            assert isinstance(outcome, Defer)
        case CircuitBreakerOpenException() | EarlyNoticeError() if age is not None and age >= policy.max_age * 1000:
            assert outcome == DeadLetter(DeadLetterReason.EXPIRED, error)
        case CircuitBreakerOpenException() | EarlyNoticeError():
            assert isinstance(outcome, Defer)
        case _ if attempt + 1 >= policy.max_attempts:
            assert outcome == DeadLetter(DeadLetterReason.ATTEMPTS_EXHAUSTED, error)
        case _:
            assert isinstance(outcome, Retry)
    if isinstance(outcome, Retry | Defer):
        assert outcome.queue in {delay.label for delay in policy.delays}
        assert outcome.error is error


@given(policies, tries, chances)
def test_attempts_are_exhausted_exactly_at_the_maximum(policy: RetryPolicy, error: Exception, chance: float) -> None:
    outcomes = [decide(policy, error, attempt=n, chance=chance) for n in range(policy.max_attempts + 2)]
    kinds = [isinstance(outcome, DeadLetter) for outcome in outcomes]
    assert kinds == [False] * (policy.max_attempts - 1) + [True] * 3


@given(policies, plain, attempts)
def test_the_delays_follow_each_other_and_the_last_repeats(policy: RetryPolicy, error: Exception, attempt: int) -> None:
    expected = [*policy.delays, *[policy.delays[-1]] * 50][attempt]
    outcome = retried(policy, error, attempt=attempt)
    assert (outcome.queue, outcome.not_before) == (expected.label, NOW + round(expected.seconds * 1000))


@given(policies, tries, attempts, chances)
def test_jitter_only_lengthens_and_never_beyond_what_a_worker_holds(
    policy: RetryPolicy, error: Exception, attempt: int, chance: float
) -> None:
    exact, jittered = (retried(policy, error, attempt=attempt, chance=c) for c in (0.0, chance))
    assert jittered.queue == exact.queue
    assert 0 <= jittered.not_before - exact.not_before <= HOLD_LIMIT * 1000 + 1


@given(policies, seconds, attempts, chances)
def test_a_try_is_never_planned_before_the_retry_after(
    policy: RetryPolicy, asked: float, attempt: int, chance: float
) -> None:
    outcome = retried(policy, SupplierUnavailableError("later", retry_after=asked), attempt=attempt, chance=chance)
    assert outcome.not_before - NOW >= min(asked, policy.max_age) * 1000
    plain_delay = policy.delays[min(attempt, len(policy.delays) - 1)]
    assert length(policy, outcome.queue) >= min(plain_delay.seconds, max(d.seconds for d in policy.delays))


@given(policies, seconds, ages)
def test_an_open_circuit_is_waited_for_in_the_shortest_queue_that_is_long_enough(
    policy: RetryPolicy, retry_after: float, age: int | None
) -> None:
    outcome = decide(policy, CircuitBreakerOpenException(retry_after), attempt=500, age=age)
    if not isinstance(outcome, Defer):
        return
    chosen, lengths = length(policy, outcome.queue), [delay.seconds for delay in policy.delays]
    wait = min(retry_after, policy.max_age, max(lengths))
    assert chosen == min(long for long in lengths if long >= wait)
    assert outcome.not_before - NOW >= wait * 1000
    assert outcome.wait_left == 0, "one round: a circuit that closes early must not find its orders still waiting"


@given(policies, early_notice, attempts, attempts, st.integers(0, 999))
def test_an_early_notice_waits_longer_each_time_and_the_last_delay_repeats(
    policy: RetryPolicy, error: EarlyNoticeError, attempt: int, deferrals: int, age: int
) -> None:
    outcome = decide(policy, error, attempt=attempt, deferrals=deferrals, age=age)
    assert isinstance(outcome, Defer)
    step = [*policy.delays, *[policy.delays[-1]] * 50][deferrals]
    wait = min(step.seconds, policy.max_age)
    assert outcome.not_before - NOW == pytest.approx(wait * 1000, abs=1)
    assert length(policy, outcome.queue) == min(long.seconds for long in policy.delays if long.seconds >= wait)


def test_an_early_notice_waits_in_the_default_delays_for_a_day() -> None:
    policy, now, waited = RetryPolicy(), NOW, list[str]()
    while True:
        outcome = policy.decide(
            EarlyNoticeError("PENDING"),
            attempt=0,
            deferrals=len(waited),
            first_failed_at=NOW if waited else None,
            now=now,
            chance=0.5,
        )
        if not isinstance(outcome, Defer):
            break
        waited.append(outcome.queue)
        now = outcome.not_before
    assert isinstance(outcome, DeadLetter)
    assert outcome.reason is DeadLetterReason.EXPIRED
    assert waited[:7] == ["1s", "5s", "30s", "2m", "10m", "10m", "10m"]
    assert DAY * 1000 <= now - NOW < (DAY + 600) * 1000


@given(policies, st.none() | st.integers(NOW - 10**12, NOW + 10**12))
def test_a_message_is_early_by_what_is_left_and_a_time_not_to_be_ours_is_not_believed(
    policy: RetryPolicy, not_before: int | None
) -> None:
    early = policy.seconds_early(not_before, wait_left=None, now=NOW)
    left = 0.0 if not_before is None else (not_before - NOW) / 1000
    assert early == (left if 0 < left <= policy.max_age + HOLD_LIMIT else 0.0)


@given(policies, st.floats(0, 20), chances, st.floats(-2 * DAY, 2 * DAY))
def test_a_worker_whose_clock_is_wrong_makes_nobody_wait_longer_than_was_asked_for(
    policy: RetryPolicy, times_longest: float, chance: float, ahead: float
) -> None:
    asked = times_longest * max(delay.seconds for delay in policy.delays)
    outcome: Retry | Defer = retried(policy, SupplierUnavailableError("later", retry_after=asked), chance=chance)
    not_before, planned, waited = outcome.not_before + round(ahead * 1000), (outcome.not_before - NOW) / 1000, 0.0
    while True:
        waited += length(policy, outcome.queue)
        now = NOW + round(waited * 1000)  # by the right clock of whoever takes it next
        early = policy.seconds_early(not_before, wait_left=outcome.wait_left, now=now)
        if early <= HOLD_LIMIT:
            break
        outcome = policy.defer(None, seconds=early, now=now)
    assert waited + early <= planned + max(delay.seconds for delay in policy.delays) + 0.01
    if ahead >= 0:
        assert waited + early >= min(asked, policy.max_age)


@given(policies, store_down, attempts, st.integers(0, 10**13))
def test_a_store_that_is_down_never_makes_a_dead_letter(
    policy: RetryPolicy, error: StoreUnavailableError, attempt: int, age: int
) -> None:
    outcome = decide(policy, error, attempt=attempt, age=age)
    assert isinstance(outcome, Defer)
    assert outcome.not_before == NOW + 1000 * min(1.0, policy.max_age)


@given(policies, st.floats(0, 20), chances, st.floats(0, 0.05))
def test_a_long_retry_after_takes_several_rounds_and_is_neither_early_nor_for_ever(
    policy: RetryPolicy, times_longest: float, chance: float, late: float
) -> None:
    longest = max(delay.seconds for delay in policy.delays)
    asked = times_longest * longest
    first = retried(policy, SupplierUnavailableError("later", retry_after=asked), chance=chance)
    now, queue, rounds = float(NOW), first.queue, 1
    while True:
        now += length(policy, queue) * 1000 * (1 + late)  # a queue may be late, not early
        early = (first.not_before - now) / 1000
        assert early <= policy.max_age + HOLD_LIMIT  # else the consumer would not believe it
        if early <= HOLD_LIMIT:
            break
        queue = policy.defer(None, seconds=early, now=round(now)).queue
        rounds += 1
    tried_at = max(now, first.not_before)
    assert tried_at >= NOW + min(asked, policy.max_age) * 1000
    wait = (first.not_before - NOW) / 1000
    assert rounds <= wait / longest + 2
    assert tried_at - first.not_before <= (longest + late * (wait + longest)) * 1000


@pytest.mark.parametrize(
    ("text", "label", "length_in_seconds"),
    [("5s", "5s", 5.0), (" 500ms ", "500ms", 0.5), ("2 m", "2m", 120.0), ("90", "90s", 90.0), ("1\td", "1d", 86400.0)],
)
def test_a_delay_keeps_the_label_it_was_written_with(text: str, label: str, length_in_seconds: float) -> None:
    assert Delay.parse(text) == Delay(label, length_in_seconds)


@pytest.mark.parametrize("text", ["", "0", "0s", "25h", "2d", "-1s", "1w", "s", "1s5"])
def test_what_is_no_delay_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"delay|duration"):
        Delay.parse(text)


def test_the_default_delays_are_the_design_s() -> None:
    assert [delay.label for delay in DEFAULT_DELAYS] == ["1s", "5s", "30s", "2m", "10m"]
    assert RetryPolicy().max_attempts == 6
