"""How the console writes numbers, spans of time and small charts."""

import pytest

from infra.console.pages.text import UNKNOWN, counted, failure, number, rate, size, span, spark


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0 s"),
        (0.085, "85 ms"),
        (4.23, "4.2 s"),
        (12.9, "12 s"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_span_of_time_has_one_or_two_units(seconds: float, written: str) -> None:
    assert span(seconds) == written


def test_numbers_are_readable_and_what_is_not_known_is_a_dash() -> None:
    assert [number(1234567), number(0), number(None)] == ["1,234,567", "0", UNKNOWN]
    assert [rate(0), rate(0.42), rate(12.6), rate(None)] == ["0", "0.4", "13", UNKNOWN]
    assert [size(812), size(1_400), size(3_000_000)] == ["812 B", "1.4 kB", "3.0 MB"]
    assert [counted(1, "dead letter"), counted(2000, "dead letter")] == ["1 dead letter", "2,000 dead letters"]


def test_a_chart_fills_its_height_and_begins_at_zero() -> None:
    line, under = spark([0, 5, 10])
    assert line == "M0.0 23.0L60.0 12.5L120.0 2.0"
    assert under == "M0.0 24L0.0 23.0L60.0 12.5L120.0 2.0L120.0 24Z"


def test_a_chart_has_a_gap_where_nothing_is_known() -> None:
    line, _ = spark([1, 1, None, 1, None])
    assert line.count("M") == 2
    assert spark([None, None]) == ("", "")


def test_a_chart_of_nothing_but_zeros_is_a_line_at_the_bottom() -> None:
    assert spark([0, 0])[0] == "M0.0 23.0L120.0 23.0"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("SupplierRejectedError: unknown address", "unknown address"),
        ("CircuitBreakerOpenException: try again: later", "try again: later"),
        ("no error was given", "no error was given"),
        ("KeyError", "KeyError"),
        ("DNS: no such host", "DNS: no such host"),
        ("", ""),
    ],
)
def test_a_failure_in_a_list_begins_with_what_tells_it_from_others(message: str, told: str) -> None:
    assert failure(message) == told
