"""The live picture on a terminal, however wide and high that is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from infra.rabbitmq.topology import WORK_QUEUE
from worker.cli.sparkline import ASCII, BLOCKS, sparkline
from worker.cli.status_view import queues, totals, verdict, workers
from worker.feed import LivePicture
from worker.history import History
from worker.overview_words import span
from worker.problem import sentences

_GAP = 2
_LABEL, _FIGURE = 17, 9
_WIDE = 60
"""Columns that have room for everything."""
_SHORTEST_LINE = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: what it is now, and where it has been in the last hour."""

    name: str
    """As the history has it."""
    label: str
    now: float | None
    unit: str = ""
    """`/s`, `s`, or nothing for a number of things."""
    unknown: str = "?"


class LiveView:
    """What is wrong, the figures with their last hour, then everything; as much as there is room for."""

    def __init__(self, picture: LivePicture, history: History) -> None:
        self._picture = picture
        self._history = history

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        blocks = [console.render_lines(part, options.update(height=None), pad=False) for part in self._parts(options)]
        for line in fitted(blocks, options.max_height):
            yield from line
            yield Segment.line()

    def _parts(self, options: ConsoleOptions) -> Iterator[RenderableType]:
        overview = self._picture.overview
        yield verdict(sentences(self._picture.problems, now=self._picture.taken_at))
        yield self._figures(options)
        yield queues(overview, is_narrow=options.max_width < _WIDE)
        yield workers(overview)
        yield totals(overview)

    def _figures(self, options: ConsoleOptions) -> Table:
        has_highest = options.max_width >= _WIDE
        taken = _LABEL + (_GAP + _FIGURE) * (1 + has_highest) + 2 * _GAP  # the table counts one after its last column
        width = options.max_width - taken
        has_line = width >= _SHORTEST_LINE
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        table.add_column(f"{self._picture.taken_at.astimezone():%H:%M:%S}", min_width=_LABEL, no_wrap=True)
        table.add_column("now", justify="right", min_width=_FIGURE, no_wrap=True)
        if has_line:
            table.add_column("last hour", width=width, no_wrap=True, style="cyan")
        if has_line and has_highest:
            table.add_column("highest", justify="right", min_width=_FIGURE, no_wrap=True, style="dim")
        levels = ASCII if options.ascii_only else BLOCKS
        for line in lines_of(self._picture):
            points = self._history.lines[line.name]
            highest = max((point for point in points if point is not None), default=None)
            cells = (
                line.label,
                figure(line.now, line.unit, unknown=line.unknown),
                sparkline(points, width=width, levels=levels) if has_line else "",
                figure(highest, line.unit, unknown="-"),
            )
            table.add_row(*(Text(cell) for cell in cells[: len(table.columns)]))
        return table


def lines_of(picture: LivePicture) -> Sequence[Line]:
    """Return the figures that have a history."""
    rates, overview = picture.rates, picture.overview
    work = next(queue for queue in overview.queues if queue.name == WORK_QUEUE)
    oldest = overview.oldest_waiting
    return (
        Line("published", "published", rates.published, "/s"),
        Line("shipped", "shipped", rates.shipped, "/s"),
        Line("retried", "tries failed", rates.retried, "/s"),
        Line("failed", "dead-lettered", rates.failed, "/s"),
        Line("to_shipped_p50", "to shipped p50", rates.to_shipped_p50, "s", unknown="-"),
        Line("to_shipped_p95", "to shipped p95", rates.to_shipped_p95, "s", unknown="-"),
        Line("waiting", "orders waiting", work.ready),
        Line("in_flight", "orders in flight", work.unacknowledged),
        Line("delayed", "orders delayed", _sum(overview.delayed)),
        Line("oldest_waiting", "oldest waiting", 0.0 if oldest.waiting is False else oldest.at_most, "s"),
        Line("open_letters", "dead letters open", _sum(overview.open_dead_letters)),
    )


def figure(number: float | None, unit: str = "", *, unknown: str = "?") -> str:
    """Return `12.3/s`, `350 ms`, `1,204`, or that it is unknown."""
    if number is None:
        return unknown
    if unit == "/s":
        return f"{number:.1f}/s" if number < 99.95 else f"{number:,.0f}/s"
    if unit == "s" and 0 < number < 9.95:
        return f"{number:.1f} s" if number > 0.9995 else f"{number * 1000:.0f} ms"
    return span(number) if unit == "s" else f"{number:,.0f}"


def fitted(blocks: Sequence[Sequence[list[Segment]]], height: int) -> list[list[Segment]]:
    """Return the lines of the blocks, with a blank one between two where there is room, and the first ones that fit."""
    spaced = [line for block in blocks for line in ([], *block)][1:]
    if len(spaced) <= height:
        return spaced
    dense = [line for block in blocks for line in block]
    if len(dense) <= height:
        return dense
    hidden = len(dense) - height + 1
    return [*dense[: height - 1], [Segment(f"… {hidden} more lines")]]


def _sum(numbers: Mapping[str, int | None] | None) -> int | None:
    return None if numbers is None else sum(number or 0 for number in numbers.values())
