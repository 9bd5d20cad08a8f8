"""The first page: what is wrong, in words; the numbers that matter; queues, workers and dead letters. Live."""

from functools import partial

from fastapi import Request
from nicegui import ui

from infra.console.desk.desk import desk_of
from infra.console.pages.kit import Tag, button, when
from infra.console.pages.overview_parts import DeadLetters, Delays, Queues
from infra.console.pages.overview_tiles import Tiles
from infra.console.pages.shell import Shell
from infra.console.pages.text import iso
from infra.console.pages.verdict import Verdict
from infra.console.pages.worker_rows import WorkerRows
from worker.feed import LivePicture

_EVERY = 0.25
_DRAWN_EVERY = 10.0
_SPANS = (("Last hour", 1.0), ("Last 24 hours", 24.0))
"""How far back the charts go, in hours."""


@ui.page("/", response_timeout=10)
async def overview(request: Request) -> None:
    """Show everything at one moment, anew as it happens."""
    shell = Shell("Overview", desk_of(request), here="/")
    with shell.page():
        _Overview(shell)


class _Overview:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._number = 0
        self._hours = _SPANS[0][1]
        with Tag("div", classes="spread"):
            Tag("h1", "Overview")
            with Tag("div", classes="line"):
                with Tag("p", classes="soft small"):
                    Tag("span", "as of ")
                    self._at = when(shell.desk.system.live().taken_at)
                with Tag("div", classes="either", role="group", aria_label="Charts"):
                    self._spans = {hours: button(name, partial(self._turn, hours)) for name, hours in _SPANS}
        self._verdict = Verdict()
        self._tiles = Tiles()
        with Tag("div", classes="two"):
            with Tag("div", classes="stack"):
                self._queues = Queues()
                with Tag("section", classes="card flush"):
                    Tag("h2", "Workers")
                    self._workers = WorkerRows()
            with Tag("div", classes="stack"):
                self._letters = DeadLetters()
                self._delays = Delays()
        self._press()
        self._refresh()
        ui.timer(_EVERY, self._refresh)
        ui.timer(_DRAWN_EVERY, self._draw)

    async def _turn(self, hours: float) -> None:
        self._hours = hours
        self._press()
        await self._draw()

    def _press(self) -> None:
        for hours, span in self._spans.items():
            span.put(aria_pressed="true" if hours == self._hours else "false")

    async def _draw(self) -> None:
        with self._shell.told():
            self._tiles.draw(await self._shell.desk.system.history(hours=self._hours))

    def _refresh(self) -> None:
        with self._shell.told():
            picture = self._shell.desk.system.live()
            if picture.number != self._number:
                self._number = picture.number
                self._show(picture)

    def _show(self, picture: LivePicture) -> None:
        seen = picture.overview
        self._at.put(datetime=iso(picture.taken_at))
        self._verdict.show(picture)
        self._tiles.show(picture)
        self._queues.show(seen.queues)
        self._delays.show(seen.delayed, seen.delayed_notices)
        self._workers.show(seen.workers)
        self._letters.show(seen.open_dead_letters)
