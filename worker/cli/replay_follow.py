"""Watching a replay job: a bar on a terminal, a line now and then in a pipe."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live

from worker.cli.interrupt import interruptible
from worker.cli.output import plain
from worker.cli.replay_picture import in_one_line, picture
from worker.domain.errors import StoreUnavailableError
from worker.domain.replay_job import JobState
from worker.domain.replay_jobs import ReplayJobs, ReplayProgress

_POLL = 0.5
_SECONDS_BETWEEN_LINES = 2.0


async def follow_job(jobs: ReplayJobs, job_id: str, *, seconds: float | None) -> ReplayProgress:
    """Show the job's progress on standard error until it ends or stops, for so many seconds at most (None: no end).

    Ctrl-C ends the watching; the job goes on. A store that does not answer for a while is waited for.
    """
    over = None if seconds is None else time.monotonic() + seconds
    progress = await jobs.progress(job_id)
    with interruptible() as interrupted, _shown() as show:
        while True:
            show(progress)
            out_of_time = over is not None and time.monotonic() >= over
            if progress.job.is_over or progress.job.state is JobState.STOPPED or interrupted.is_set() or out_of_time:
                break
            await asyncio.sleep(_POLL)
            try:
                progress = await jobs.progress(job_id)
            except StoreUnavailableError as error:
                click.echo(f"logistics: {error}; the job goes on as soon as it answers", err=True)
    if interrupted.is_set():
        click.echo(f"The job goes on. To halt it: logistics replay pause {job_id}", err=True)
    return progress


@contextmanager
def _shown() -> "Iterator[_Show]":
    if not sys.stderr.isatty():
        yield _Lines()
        return
    with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        yield _Picture(live)


class _Lines:
    """Progress in a pipe: a line when something changed, at most one in two seconds."""

    def __init__(self) -> None:
        self._last = ""
        self._next = 0.0

    def __call__(self, progress: ReplayProgress) -> None:
        line = in_one_line(progress)
        ended = progress.job.is_over or progress.job.state is JobState.STOPPED
        if line != self._last and (ended or time.monotonic() >= self._next):
            self._last, self._next = line, time.monotonic() + _SECONDS_BETWEEN_LINES
            click.echo(plain(line), err=True)


class _Picture:
    """Progress on a terminal."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def __call__(self, progress: ReplayProgress) -> None:
        self._live.update(picture(progress))


_Show = _Lines | _Picture
