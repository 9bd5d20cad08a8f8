"""What a benchmark makes of its runs: medians, ratios within a round, and figures that do not count."""

import re
from dataclasses import replace
from io import StringIO
from typing import cast

import pytest
from rich.console import Console

from benchmarks.comparison import Round, Run
from benchmarks.drain import Drain
from benchmarks.ledger import Books
from benchmarks.low_load import percentile
from benchmarks.plot import svg
from benchmarks.programs import BARE, PLAIN, WORKER
from benchmarks.report import print_figures
from benchmarks.summary import Figure, summarize

SOUND = Books(dispatches=9, dispatched_orders=9, double_dispatches=0, shipped=9, stored=9, waiting=0, dead=0)


def run(*, seconds: float, cpu: float = 1.0, to_shipped: tuple[float, ...] = ()) -> Run:
    parts = {"program": cpu, "store": 0.5, "broker": 0.2, "supplier": 0.2}
    return Run(Drain(orders=1000, seconds=seconds, cpu=parts, peak_mb=60.0), list(to_shipped))


def one_round(*, plain: float, worker: float) -> Round:
    return {
        BARE.name: run(seconds=0.1),
        PLAIN.name: run(seconds=plain, to_shipped=(0.03, 0.05)),
        WORKER.name: run(seconds=worker, cpu=0.5, to_shipped=(0.03, 0.04)),
    }


def figures_of(*rounds: Round) -> dict[str, Figure]:
    return {figure.measure.name: figure for figure in summarize(rounds)}


def test_the_ratio_is_the_median_of_the_rounds_own_ratios_not_the_ratio_of_the_medians() -> None:
    rounds = [one_round(plain=4, worker=1), one_round(plain=8, worker=4), one_round(plain=9, worker=3)]
    orders = figures_of(*rounds)["orders"]
    assert orders.ratios == pytest.approx([4.0, 2.0, 3.0])
    assert orders.ratio == pytest.approx(3.0)
    assert orders.medians[WORKER.name] == pytest.approx(1000 / 3)


def test_a_goal_for_a_rate_is_a_least_and_one_for_a_cost_a_most() -> None:
    figures = figures_of(one_round(plain=3, worker=1))
    assert figures["orders"].document()["reached"] is True
    assert figures["CPU, program"].document()["reached"] is False  # 0.5 of the plain job's
    assert figures["to SHIPPED, p99"].document()["reached"] is True
    assert figures["peak memory"].document()["reached"] is None


def test_the_rounds_in_which_a_goal_was_reached_are_counted_and_told() -> None:
    rounds = [one_round(plain=4, worker=1), one_round(plain=8, worker=4), one_round(plain=10, worker=2)]
    figures = figures_of(*rounds)
    assert figures["orders"].document()["rounds_reached"] == 2  # 4, 2 and 5 times the plain job's
    assert figures["peak memory"].document()["rounds_reached"] is None
    page = Console(file=StringIO(), width=80)
    print_figures(page, [figures["orders"], figures["CPU, program"]])
    words = cast("StringIO", page.file).getvalue()
    assert "consume" in words  # no column is cut short on a terminal of 80
    assert "≥ 3 reached" in words
    assert "2 of 3 rounds" in words
    assert "≤ 0.4 missed" in words
    assert "0 of 3 rounds" in words


def test_what_ships_nothing_has_no_time_to_shipped() -> None:
    assert BARE.name not in figures_of(one_round(plain=2, worker=1))["to SHIPPED, p50"].medians


def test_a_percentile_lies_between_the_values_it_is_made_of() -> None:
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0], 99) == pytest.approx(2.98)


@pytest.mark.parametrize(
    "books",
    [
        replace(SOUND, dispatches=10, double_dispatches=1),
        replace(SOUND, dispatches=8, dispatched_orders=8),
        replace(SOUND, shipped=8),
        replace(SOUND, stored=10),
        replace(SOUND, waiting=1),
        replace(SOUND, dead=1),
    ],
    ids=["dispatched twice", "not dispatched", "not SHIPPED", "one too many", "left over", "given up"],
)
def test_a_figure_does_not_count_when_an_order_was_not_shipped_exactly_once(books: Books) -> None:
    assert SOUND.objection(9) is None
    assert books.objection(9) is not None


def test_the_plot_has_a_bar_for_every_program_as_long_as_its_figure() -> None:
    picture = svg([figures_of(one_round(plain=2, worker=1))["orders"]])
    _, plain, worker = (int(width) for width in re.findall(r'<rect [^>]*width="(\d+)"', picture))
    assert worker == pytest.approx(2 * plain, abs=1)
