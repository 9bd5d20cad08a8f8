"""An overview on a terminal of 80 columns."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from infra.rabbitmq.topology import WORK_QUEUE
from worker.cli.output import plain
from worker.domain.shipment import ShipmentStatus
from worker.overview_picture import BROKER, STORE, Overview
from worker.overview_problems import problems
from worker.overview_words import circuit_in_words, listed, oldest_in_words, span
from worker.problem import sentences
from worker.worker_views import WorkerView

_LOST_SHOWN = 3


def show(overview: Overview, console: Console) -> None:
    """Print what is wrong, then everything."""
    _print(console, verdict(sentences(problems(overview), now=overview.taken_at)))
    for part in (queues(overview), _delayed(overview), workers(overview), totals(overview)):
        console.print()
        _print(console, part)


def _print(console: Console, part: RenderableType) -> None:
    console.print(part, highlight=False, soft_wrap=False)


def verdict(wrong: Sequence[str]) -> Text:
    """Return what is wrong, a line each, or that nothing is."""
    if not wrong:
        return Text("All is well.", style="green")
    return Text("\n").join(Text.assemble(("! ", "bold red"), (plain(sentence), "red")) for sentence in wrong)


def queues(overview: Overview, *, is_narrow: bool = False) -> RenderableType:
    """Return the queues that workers consume. `is_narrow`: on a terminal of some 40 columns."""
    titles = ("ready", "unacked", "used by") if is_narrow else ("ready", "unacknowledged", "consumers")
    table = _table("Queue", *titles)
    for queue in overview.queues:
        unknown = "missing" if queue.exists is False else "?"
        figures = (queue.ready, queue.unacknowledged, queue.consumers)
        table.add_row(queue.name, *(_number(figure, unknown) for figure in figures))
    return table


def _delayed(overview: Overview) -> RenderableType:
    if overview.delayed is None or overview.delayed_notices is None:
        return _unknown("Delayed", BROKER)
    table = _table("Delayed, by delay", *overview.delayed)
    for what, delayed in (("orders", overview.delayed), ("delivery notices", overview.delayed_notices)):
        table.add_row(what, *(_number(number, "missing") for number in delayed.values()))
    return table


def workers(overview: Overview) -> RenderableType:
    """Return the workers, or why none is shown."""
    if overview.workers is None:
        return _unknown("Workers", STORE)
    if not overview.workers:
        return Text("Workers: none has reported within the last hour, or all have stopped")
    return workers_table(overview.workers)


def workers_table(workers: Sequence[WorkerView]) -> Table:
    """Return the workers as a table, of those that are lost the newest alone."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("Worker", "circuit"):
        table.add_column(title, overflow="fold")
    for title in ("in flight", "limit"):
        table.add_column(title, justify="right")
    for title in ("version", "up", "seen"):
        table.add_column(title, overflow="fold")
    for worker in _shown(workers):
        table.add_row(*_worker_cells(worker), style="red" if worker.lost else None)
    hidden = len(workers) - table.row_count
    if hidden:
        table.add_row(f"and {hidden} more lost")
    return table


def _shown(workers: Sequence[WorkerView]) -> Iterator[WorkerView]:
    lost_ones = 0
    for worker in workers:
        lost_ones += worker.lost
        if lost_ones <= _LOST_SHOWN:
            yield worker


def _worker_cells(worker: WorkerView) -> Iterator[Text]:
    takes_orders = WORK_QUEUE in worker.in_flight
    yield Text(plain(worker.name))
    yield _circuit(worker) if takes_orders else Text("-")
    yield Text(str(sum(worker.in_flight.values())))
    yield limit_text(worker) if takes_orders else Text("-")
    yield Text(plain(worker.version))
    yield Text(span(worker.uptime) if worker.uptime is not None else "?")
    yield Text(f"{span(worker.seen_ago)} ago")


def limit_text(worker: WorkerView) -> Text:
    """Return how many orders a worker takes at once now, or that it is paused."""
    return Text("paused", "yellow") if worker.paused else Text(_number(worker.intake_limit))


def _circuit(worker: WorkerView) -> Text:
    if worker.lost:
        return Text("lost")
    return Text(plain(circuit_in_words(worker)), style="" if worker.circuit == "closed" else "yellow")


def totals(overview: Overview) -> RenderableType:
    """Return how many shipments and dead letters there are, and the replay job."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("Shipments", _shipments(overview.shipments))
    grid.add_row("Dead letters", _letters(overview))
    if overview.replay_job is not None:
        job = overview.replay_job
        grid.add_row("Replay job", Text(plain(f"{job.id} {job.state}, by {job.by}: {job.why}")))
    grid.add_row("Oldest waiting order", Text(oldest_in_words(overview.oldest_waiting)))
    return grid


def _shipments(counts: Mapping[str, int] | None) -> Text:
    if counts is None:
        return _not_known(STORE)
    known = [str(status) for status in ShipmentStatus]
    names = [*known, *sorted(set(counts) - set(known))]
    return Text(", ".join(f"{plain(name)} {counts[name]:,}" for name in names if counts.get(name)) or "none")


def _letters(overview: Overview) -> Text:
    if overview.dead_letters is None or overview.open_dead_letters is None:
        return _not_known(STORE)
    reasons = f" ({listed(overview.open_dead_letters)})" if overview.open_dead_letters else ""
    other = {state: number for state, number in overview.dead_letters.items() if state != "open"}
    rest = f"; {listed(other)}" if other else ""
    return Text(plain(f"{overview.dead_letters.get('open', 0)} open{reasons}{rest}"))


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, min_width=20)
    for title in others:
        table.add_column(Text(title), justify="right")
    return table


def _number(number: int | None, unknown: str = "?") -> str:
    return unknown if number is None else f"{number:,}"


def _unknown(what: str, server: str) -> Text:
    return Text.assemble((f"{what}: ", "bold"), _not_known(server))


def _not_known(server: str) -> Text:
    return Text(f"not known: {server} is not reachable", style="dim")
