"""Durations, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("3d", 259200.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("0.25h", 900.0),
        (" 10 s ", 10.0),
        ("0", 0.0),
    ],
)
def test_a_duration_is_a_number_and_a_unit_and_seconds_without_one(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "ten", "-1s", "+1s", "1w", "1e3", "1,5s", ".5s", "1.s", "1m30s", "inf", "nan", "10S", "1s\n2"],
)
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write 500ms, 10s, 2m or 1h"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_what_is_written_is_read_back_to_the_millisecond(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert seconds >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "500ms"),
        (1.0, "1s"),
        (90.0, "90s"),
        (120.0, "2m"),
        (5400.0, "90m"),
        (3600.0, "1h"),
        (0.0, "0s"),
        (1.25, "1250ms"),
        (86400.0, "24h"),
        (14 * 86400.0, "14d"),
    ],
)
def test_the_shortest_exact_way_is_chosen(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
