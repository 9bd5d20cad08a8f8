"""Showing on standard error how publishing lines goes: a bar on a terminal, a line every few seconds in a pipe."""

import sys
import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from worker.domain.errors import MalformedOrderError
from worker.line_source import LineSource
from worker.publishing import Progress

_BETWEEN_LINES = 5.0
_BETWEEN_FRAMES = 0.1


class PublishDisplay:
    """How far the publishing of a file's lines is, and what is to be said meanwhile."""

    def __init__(self, source: LineSource, *, size: int | None) -> None:
        """`size` of the file in bytes, None when nobody knows it (a pipe)."""
        self._source = source
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._shown_at = time.monotonic()
        if sys.stderr.isatty():
            columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=size)

    def progress(self, progress: Progress) -> None:
        """Show the numbers, if it is time to."""
        now = time.monotonic()
        if now - self._shown_at < (_BETWEEN_LINES if self._bar is None else _BETWEEN_FRAMES):
            return
        self._shown_at = now
        text = f"{progress.published:,} confirmed, {progress.published / progress.seconds:,.0f}/s"
        if progress.refused:
            text += f", {progress.refused:,} refused"
        if self._bar is None:
            click.echo(text, err=True)
        else:
            self._bar.update(self._task, completed=self._source.bytes_read, description=text)

    def refused(self, number: int, error: MalformedOrderError) -> None:
        """Say why a line is no order."""
        self.say(f"line {number}: {error}")

    def say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if self._bar is None:
            click.echo(text, err=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
