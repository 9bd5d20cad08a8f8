"""Percentiles from a histogram whose parts can be added up."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.percentiles import STEPS, percentile, step_of


def histogram(times: list[float]) -> Counter[int]:
    return Counter(step_of(time) for time in times)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_percentile_is_off_by_a_fifth_at_most(share: float) -> None:
    chance = random.Random(1)
    times = sorted(chance.lognormvariate(0, 2) for _ in range(5000))
    exact = times[round(share * len(times))]
    found = percentile(histogram(times), share)
    assert found is not None
    assert exact / 1.2 < found < exact * 1.2


def test_two_histograms_added_tell_what_one_of_all_times_tells() -> None:
    slow, quick = [10.0, 12.0, 700.0], [0.02] * 30
    assert percentile(histogram(slow) + histogram(quick), 0.95) == percentile(histogram(slow + quick), 0.95)


def test_where_nothing_was_counted_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({3: 0}, 0.5) is None


def test_one_time_alone_lies_within_its_step() -> None:
    found = percentile(histogram([1.0]), 0.5)
    assert found is not None
    assert 0.7 < found < 1.42


@given(st.floats(min_value=-1e9, max_value=1e9), st.floats(min_value=0, max_value=1e9))
def test_every_time_has_a_step_and_a_longer_one_no_lower_step(time: float, longer: float) -> None:
    assert 0 <= step_of(time) <= step_of(time + longer) < STEPS


@given(st.dictionaries(st.integers(0, STEPS - 1), st.integers(1, 1000), min_size=1))
def test_a_higher_share_never_has_a_shorter_time(times: dict[int, int]) -> None:
    found = [percentile(times, share) for share in (0.0, 0.1, 0.5, 0.95, 1.0)]
    assert None not in found
    assert found == sorted(value for value in found if value is not None)
