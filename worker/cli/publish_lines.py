"""`logistics publish --file`: the lines of a file or of standard input, until the end, Ctrl-C or an outage."""

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import click

from infra.rabbitmq.order_publisher import OrderPublisher
from worker.cli.publish_display import PublishDisplay
from worker.domain.errors import MalformedOrderError, PublishError
from worker.line_source import LineSource
from worker.publishing import Progress, Summary, publish_lines

STANDARD_INPUT = "-"

Connect = Callable[[Callable[[PublishError], None]], OrderPublisher]
"""Makes the publisher, given the function that tells people of an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """What the command line says about publishing lines."""

    path: str
    in_flight: int
    strict: bool
    from_line: int
    max_bytes: int
    as_json: bool


def publish_file(connect: Connect, options: LineOptions) -> bool:
    """Publish every line and say what became of them; return whether all were confirmed."""
    # Never closed: that would wait for the reading thread, which on Ctrl-C may be stuck in a read.
    file = _opened(options.path)
    source = LineSource(file, max_bytes=options.max_bytes)
    with PublishDisplay(source, size=_size(file)) as display:
        publisher = connect(lambda error: display.say(f"{error}; trying again"))
        outcome = asyncio.run(_Publishing(display, options).run(source, publisher))
    _report(outcome, as_json=options.as_json)
    return outcome.is_success


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the publishing ended."""

    summary: Summary
    interrupted: bool

    @property
    def is_complete(self) -> bool:
        """Whether the lines were taken to their end."""
        return self.summary.stopped_by is None and not self.interrupted

    @property
    def is_success(self) -> bool:
        """Whether every line is confirmed."""
        return self.is_complete and not self.summary.refused

    @property
    def why_stopped(self) -> str | None:
        """Why it is not complete."""
        if isinstance(self.summary.stopped_by, MalformedOrderError):
            return f"stopped at line {self.summary.first_unsettled}, which was refused"
        if self.summary.stopped_by is not None:
            return str(self.summary.stopped_by)
        return "interrupted" if self.interrupted else None

    def sentence(self) -> str:
        """Return the numbers for people."""
        published, refused = self.summary.published, self.summary.refused
        return (
            f"Published {published:,} {'order' if published == 1 else 'orders'} in {self.summary.seconds:.1f} s "
            f"({self.summary.rate:,.0f}/s)" + (f"; {refused:,} refused." if refused else ".")
        )

    def document(self) -> dict[str, object]:
        """Return the numbers for programs."""
        return {
            "published": self.summary.published,
            "refused": self.summary.refused,
            "seconds": round(self.summary.seconds, 3),
            "rate": round(self.summary.rate, 1),
            "complete": self.is_complete,
            "error": self.why_stopped,
            "resume_from_line": None if self.is_complete else self.summary.first_unsettled,
        }


class _Publishing:
    def __init__(self, display: PublishDisplay, options: LineOptions) -> None:
        self._display = display
        self._options = options
        self._progress = Progress(options.from_line)
        self._interrupted = False

    async def run(self, source: LineSource, publisher: OrderPublisher) -> Outcome:
        stop = self._stop_on_signals()
        try:
            async with publisher:
                summary = await publish_lines(
                    source,
                    publisher,
                    on_progress=self._on_progress,
                    on_refused=self._display.refused,
                    in_flight=self._options.in_flight,
                    strict=self._options.strict,
                    first_line=self._options.from_line,
                    stop=stop,
                )
        except asyncio.CancelledError:  # the second Ctrl-C
            summary = self._progress.summary()
        return Outcome(summary, self._interrupted)

    def _on_progress(self, progress: Progress) -> None:
        self._progress = progress
        self._display.progress(progress)

    def _stop_on_signals(self) -> asyncio.Event:
        stop, loop, running = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()

        def on_signal() -> None:
            if self._interrupted and running is not None:
                running.cancel()
                return
            self._interrupted = True
            self._display.say("finishing what is in flight; Ctrl-C again ends at once")
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
        return stop


def _opened(path: str) -> BinaryIO:
    if path == STANDARD_INPUT and sys.stdin is not None and sys.stdin.isatty():
        click.echo("Reading orders from the terminal, one JSON object a line; end with Ctrl-D.", err=True)
    try:
        # Not sys.stdin: Python aborts when a thread still waits in it at the end of the program.
        return open(0 if path == STANDARD_INPUT else path, "rb", closefd=path != STANDARD_INPUT)
    except OSError as error:
        raise click.FileError(path, hint=error.strerror) from error


def _size(file: BinaryIO) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _report(outcome: Outcome, *, as_json: bool) -> None:
    if not outcome.is_complete:
        resume = outcome.summary.first_unsettled
        click.echo(f"logistics: {outcome.why_stopped}", err=True)
        click.echo(
            f"Line {resume} is the first that is not confirmed: resume with --from-line {resume}. Every line before it "
            "is confirmed or was refused; some after it may be confirmed, but an order published again ships once.",
            err=True,
        )
    if as_json:
        click.echo(json.dumps(outcome.document(), indent=2))
    else:
        click.echo(outcome.sentence())
