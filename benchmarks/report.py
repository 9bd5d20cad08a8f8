"""What a benchmark has found, on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.programs import BARE, PLAIN, WORKER
from benchmarks.summary import Figure


def print_figures(console: Console, figures: Sequence[Figure]) -> None:
    """Print the figures as a table: medians, the ratio of worker to plain job with its spread, and the goal."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for program in (BARE, PLAIN, WORKER):
        table.add_column(program.name, justify="right", max_width=9)
    table.add_column("worker : plain", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    for figure in figures:
        cells = [_number(figure.medians.get(program.name)) for program in (BARE, PLAIN, WORKER)]
        ratio = f"{figure.ratio:.2f} ({min(figure.ratios):.2f}…{max(figure.ratios):.2f})"
        table.add_row(f"{figure.measure.name}\n[dim]{figure.measure.unit}[/]", *cells, ratio, _goal(figure))
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
    verdict = "reached" if measure.reaches_goal(figure.ratio) else "missed"
    return f"{sign} {measure.goal:g} {verdict}\n[dim]{figure.rounds_reached} of {len(figure.ratios)} rounds[/]"
