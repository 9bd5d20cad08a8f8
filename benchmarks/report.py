"""What a benchmark has found, on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.programs import BARE, PLAIN, WORKER
from benchmarks.summary import Figure


def print_figures(console: Console, figures: Sequence[Figure]) -> None:
    """Print the figures as a table: medians, the ratio of worker to plain job with its spread, and the goal."""
    table = Table("", *(program.name for program in (BARE, PLAIN, WORKER)), "worker : plain", "of the rounds", "goal")
    for figure in figures:
        cells = [_number(figure.medians.get(program.name)) for program in (BARE, PLAIN, WORKER)]
        spread = f"{min(figure.ratios):.2f} … {max(figure.ratios):.2f}"
        name = f"{figure.measure.name}, {figure.measure.unit}"
        table.add_row(name, *cells, f"{figure.ratio:.2f}", spread, _goal(figure))
    console.print(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _goal(figure: Figure) -> str:
    measure = figure.measure
    if measure.goal is None:
        return ""
    sign = "≥" if measure.more_is_better else "≤"
    return f"{sign} {measure.goal:g}: {'reached' if measure.reaches_goal(figure.ratio) else 'missed'}"
