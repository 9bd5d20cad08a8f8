"""The live picture on terminals of every width and height."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from tests.unit.test_overview import NOW, a_report, overview, the_store
from worker.cli.live_view import LiveView, figure, lines_of
from worker.cli.status_watch import in_one_line
from worker.domain.samples import Slot
from worker.feed import LivePicture
from worker.history import POINTS, History, history_of
from worker.overview_problems import problems
from worker.rates import Rates

STEP = timedelta(seconds=30)
RATES = Rates(12.34, 1204.6, 0.0, 0.5, 0.04, 0.0421, 75.0)


def a_picture(*reports: dict[str, Any], **fields: Any) -> LivePicture:
    seen = overview(store=the_store(*(reports or [a_report()]), open_by_reason={"malformed": 3}))
    return replace(LivePicture(1, NOW, problems(seen), seen, RATES, {}), **fields)


def a_history(*shipped: float | None) -> History:
    """The newest points of one line; a gap is None."""
    since = NOW - POINTS * STEP
    first = POINTS - len(shipped)
    slots = [
        Slot(since + (first + number) * STEP, {"shipped": rate * 10}, {}, {})
        for number, rate in enumerate(shipped)
        if rate is not None
    ]
    return history_of(slots, since=since, step=STEP)


def screen(picture: LivePicture, history: History, *, width: int = 80, height: int = 40) -> list[str]:
    """The lines that a terminal of that size shows."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, color_system=None, legacy_windows=False)
    console.print(LiveView(picture, history), end="")
    return file.getvalue().splitlines()


def line_of(label: str, lines: list[str]) -> str:
    return next(line for line in lines if line.startswith(label))


def test_what_is_wrong_stands_on_top_then_the_figures_with_their_last_hour() -> None:
    lines = screen(a_picture(), a_history(0, 5, None, 10), width=200)
    assert lines[0] == "! 3 dead letters open: malformed 3"
    assert line_of("shipped", lines).split() == ["shipped", "1,205/s", "▁▅", "█", "10.0/s"]
    assert line_of("published", lines).split() == ["published", "12.3/s", "-"]
    assert line_of("to shipped p50", lines).split()[3:5] == ["42", "ms"]
    assert "orders.work" in "".join(lines)
    assert "SHIPPED 7" in "".join(lines)


def test_when_all_is_well_it_says_so() -> None:
    assert screen(a_picture(problems=[]), a_history())[0] == "All is well."


@pytest.mark.parametrize("width", [30, 46, 59, 60, 80, 132, 250])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    long_name = "a-very-long-host-name.of.somebody-s.data-centre.example-4711"
    reports = [a_report(long_name, circuit="open", last_failure="HTTP 503: " + "down for repairs " * 9), a_report("b")]
    lines = screen(a_picture(*reports), a_history(*[5.0] * 120), width=width)
    assert max(map(len, lines)) <= width
    assert line_of("shipped", lines).split()[1] == "1,205/s"


def test_a_narrow_terminal_loses_the_highest_figure_then_the_line_and_never_the_figure() -> None:
    shipped = {
        width: line_of("shipped", screen(a_picture(), a_history(*[5.0] * 120), width=width)) for width in (60, 59, 30)
    }
    assert shipped[60].split()[-1] == "5.0/s"
    assert set(shipped[59].split()[-1]) == {"█"}
    assert shipped[30].split() == ["shipped", "1,205/s"]


@pytest.mark.parametrize("height", [1, 5, 12, 24, 25, 60])
def test_a_low_terminal_shows_the_first_lines_and_says_how_many_more_there_are(height: int) -> None:
    lines = screen(a_picture(), a_history(), height=height)
    assert len(lines) <= height
    everything = [line for line in screen(a_picture(), a_history(), height=100) if line.strip()]
    if len(lines) == height < len(everything):
        assert lines[:-1] == everything[: height - 1]
        assert lines[-1] == f"… {len(everything) - height + 1} more lines"
    else:
        assert [line for line in lines if line.strip()] == everything


def test_a_terminal_without_block_characters_gets_plain_ones() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    Console(file=file, width=200, height=40, color_system=None).print(LiveView(a_picture(), a_history(0, 5, 10)))
    file.seek(0)
    assert "_=#" in file.read()


def test_control_characters_in_a_worker_s_words_move_no_cursor() -> None:
    evil = a_report("w\x1b[2J", circuit="open", last_failure="HTTP 500: \x1b]0;owned\x07")
    assert "\x1b" not in "".join(screen(a_picture(evil), a_history()))


def test_everything_unknown_is_shown_as_such() -> None:
    seen = overview("RabbitMQ is not reachable: refused", "MongoDB does not answer: refused")
    lines = screen(LivePicture(1, NOW, problems(seen), seen, Rates(), {}), a_history())
    assert [line_of(name, lines).split()[-2] for name in ("published", "orders waiting", "dead letters open")] == [
        "?"
    ] * 3
    assert "Workers: not known: MongoDB is not reachable" in lines


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (None, "/s", "?"),
        (0.0, "/s", "0.0/s"),
        (99.94, "/s", "99.9/s"),
        (99.96, "/s", "100/s"),
        (12345.6, "/s", "12,346/s"),
        (0.0, "s", "0 s"),
        (0.0004, "s", "0 ms"),
        (0.9994, "s", "999 ms"),
        (0.9996, "s", "1.0 s"),
        (9.94, "s", "9.9 s"),
        (9.96, "s", "10 s"),
        (3700.0, "s", "1 h 1 min"),
        (1234567, "", "1,234,567"),
    ],
)
def test_a_figure_is_written_with_as_many_digits_as_it_takes(number: float | None, unit: str, text: str) -> None:
    assert figure(number, unit) == text


def test_every_figure_has_a_line_in_the_history() -> None:
    assert {line.name for line in lines_of(a_picture())} <= set(a_history().lines)


def test_in_a_pipe_a_picture_is_one_line_with_what_is_wrong_at_its_end() -> None:
    line = in_one_line(a_picture(taken_at=datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)))
    assert line.startswith("2026-03-01T12:00:05Z published 12.3/s, shipped 1,205/s, ")
    assert line.endswith(": 3 dead letters open: malformed 3")
    assert "\n" not in line
    assert in_one_line(a_picture(problems=[])).endswith(": all is well")
