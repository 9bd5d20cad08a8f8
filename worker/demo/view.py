"""What the demo shows: a live picture on a terminal, plain lines in a pipe."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from worker.demo.accounting import SHIPPED, WAITING, Books

_BAR = 44
_PLAIN_EVERY = 2.0


class DemoView:
    """The demo's voice."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._started = time.monotonic()
        self._last_plain = 0.0
        self._last_line = ""
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Say one line, with the seconds since the start."""
        self.console.print(Text.assemble((f"{time.monotonic() - self._started:5.1f} s  ", "dim"), text))

    def headline(self, text: str) -> None:
        """Say what comes now."""
        self.console.print()
        self.console.print(Text(f"── {text} ", style="bold cyan"))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show progress for the block."""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=10, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def progress(self, books: Books, *, published: int, circuit: str) -> None:
        """Show how far the published orders are."""
        shipped, waiting = books.total(SHIPPED), books.waiting
        dead = published - shipped - waiting
        if self._live is not None:
            self._live.update(_picture(published, shipped, waiting, dead, circuit))
        elif time.monotonic() - self._last_plain >= _PLAIN_EVERY:
            self._last_plain = time.monotonic()
            line = f"published {published}, shipped {shipped}, {WAITING} {waiting}, dead {dead}, circuit {circuit}"
            if line != self._last_line:
                self._last_line = line
                self.say(line)

    def table(self, title: str, books: Books) -> None:
        """Show where every order is, by kind, and whether the sum is right."""
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("what was published")
        table.add_column("orders", justify="right")
        table.add_column("shipped", justify="right", style="green")
        table.add_column("open dead letters, by reason")
        table.add_column("unaccounted", justify="right")
        for kind, places in books.places.items():
            dead = {place: count for place, count in places.items() if place not in (SHIPPED, WAITING)}
            reasons = ", ".join(f"{count} {place.removeprefix('dead letter: ')}" for place, count in dead.items())
            table.add_row(
                str(kind), str(places.total()), str(places[SHIPPED]), reasons or "—", str(places[WAITING] or 0)
            )
        table.add_section()
        everything = sum(places.total() for places in books.places.values())
        dead_total = everything - books.total(SHIPPED) - books.waiting
        table.add_row("sum", str(everything), str(books.total(SHIPPED)), str(dead_total), str(books.waiting))
        self.console.print(table)


def _picture(published: int, shipped: int, waiting: int, dead: int, circuit: str) -> Table:
    table = Table.grid(padding=(0, 1))
    for name, count, colour in (
        ("shipped", shipped, "green"),
        ("dead letters", dead, "red"),
        (WAITING, waiting, "yellow"),
    ):
        filled = round(_BAR * count / published) if published else 0
        table.add_row(
            f"  {name:<13}", Text("█" * filled, style=colour) + Text("░" * (_BAR - filled), style="dim"), f"{count:>5}"
        )
    style = {"closed": "green", "open": "bold red"}.get(circuit, "yellow")
    table.add_row("  published", Text(f"circuit: {circuit}", style=style), f"{published:>5}")
    return table
