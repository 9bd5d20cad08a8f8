"""`logistics status --watch`: the live picture until Ctrl-C."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live

from worker.cli.interrupt import interruptible
from worker.cli.live_view import LiveView, figure, lines_of
from worker.cli.output import plain
from worker.documents import json_text
from worker.feed import LivePicture, OverviewFeed, open_feed
from worker.history import History
from worker.overview_documents import picture_document
from worker.problem import sentences
from worker.settings import Settings

_HOURS = 1.0

_Show = Callable[[LivePicture, History], None]


async def watch(settings: Settings, *, as_json: bool) -> None:
    """Show every picture of the feed: live on a terminal, a line each in a pipe. Returns at Ctrl-C or SIGTERM."""
    with interruptible(signal.SIGINT, signal.SIGTERM) as interrupted:
        async with open_feed(settings, keeps_history=False) as feed:
            with _shown(as_json=as_json) as show:
                showing = asyncio.create_task(_show_all(feed, show))
                ended = asyncio.create_task(interrupted.wait())
                await asyncio.wait([showing, ended], return_when=asyncio.FIRST_COMPLETED)
                for task in (showing, ended):
                    task.cancel()
            if showing.done() and not showing.cancelled():
                showing.result()


async def _show_all(feed: OverviewFeed, show: _Show) -> None:
    picture = feed.latest()
    while True:
        show(picture, await feed.history(hours=_HOURS))
        picture = await feed.next(after=picture.number)


@contextmanager
def _shown(*, as_json: bool) -> Iterator[_Show]:
    if as_json:
        yield lambda picture, _: click.echo(json_text(picture_document(picture)))
    elif not sys.stdout.isatty():
        yield lambda picture, _: click.echo(in_one_line(picture))
    else:
        with Live(screen=True, auto_refresh=False, console=Console(highlight=False)) as live:
            yield lambda picture, history: live.update(LiveView(picture, history), refresh=True)


def in_one_line(picture: LivePicture) -> str:
    """Return a picture as one line: when, the figures, what is wrong."""
    figures = ", ".join(
        f"{line.label} {figure(line.now, line.unit, unknown=line.unknown)}" for line in lines_of(picture)
    )
    wrong = (
        "; ".join(plain(sentence) for sentence in sentences(picture.problems, now=picture.taken_at)) or "all is well"
    )
    return f"{picture.taken_at:%Y-%m-%dT%H:%M:%SZ} {figures}: {wrong}"
