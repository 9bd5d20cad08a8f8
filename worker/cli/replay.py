"""`logistics replay`: dead letters go out again, a few first, then ever faster."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import click

from worker.cli import replay_views as views
from worker.cli.dead_letter_filters import Utf8Text
from worker.cli.dead_letter_store import operator_name
from worker.cli.dead_letter_views import console
from worker.cli.output import print_json
from worker.cli.replay_options import by_option, follow_option, json_option, wait_option
from worker.cli.replay_start import start
from worker.cli.replay_store import open_desk, quiet_settings
from worker.cli.replay_watch import watch
from worker.domain.errors import JobConflictError
from worker.domain.replay_jobs import MAX_RATE, ReplayJobs
from worker.replay_documents import progress_document
from worker.settings import Settings

why_option = click.option("--why", metavar="TEXT", type=Utf8Text(), default="", help="Why, for the audit log.")


@click.group("replay")
def replay() -> None:
    """Send dead letters again, as a stored job that a worker performs.

    A job sends a canary first (one letter, or --canary N) and waits for its outcome; then the rest, slowly at first and
    faster up to --rate; and it stops by itself when the canary fails, when too many fail again in the same way, or
    when a circuit opens. It survives the death of whoever performs it. One job is active at a time.

    \b
    A way to work:
      logistics dead-letters groups                          what kinds there are
      logistics replay start --group G --dry-run             what would go out, and what would not
      logistics replay start --group G --why 'fixed' -f      do it, and watch
      logistics replay pause ID · resume ID · rate ID 50 · cancel ID
    """


replay.add_command(start)


@replay.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many, newest first.")
@click.option("--quiet", "-q", is_flag=True, help="Only the ids, one a line: for scripts.")
@json_option
def list_(*, limit: int, quiet: bool, as_json: bool) -> None:
    """List the replay jobs, newest first, each with the sum of its letters."""
    if quiet and as_json:
        raise click.UsageError("--quiet and --json exclude each other")
    asyncio.run(_list(quiet_settings(), limit=limit, quiet=quiet, as_json=as_json))


@replay.command("show")
@click.argument("job_id", metavar="JOB")
@click.option("--letters", "with_letters", is_flag=True, help="List the letters that did not end well.")
@follow_option
@wait_option
@json_option
def show(*, job_id: str, with_letters: bool, follow: bool, wait: float | None, as_json: bool) -> None:
    """Show one job: how far it is, what came of its letters, when it will have sent them all.

    Exit code 1 with --follow or --wait: it stopped, or not every letter is resolved.
    """
    sys.exit(
        asyncio.run(
            _show(quiet_settings(), job_id, with_letters=with_letters, follow=follow, wait=wait, as_json=as_json)
        )
    )


@replay.command("pause")
@click.argument("job_id", metavar="JOB")
@why_option
@by_option
@json_option
def pause(**given: Any) -> None:
    """Send nothing more until the job is resumed. What is out goes on, and its outcome is noted."""
    asyncio.run(_change(quiet_settings(), lambda jobs: jobs.pause, **given))


@replay.command("resume")
@click.argument("job_id", metavar="JOB")
@why_option
@by_option
@json_option
def resume(**given: Any) -> None:
    """Go on with a job that was paused (where it was) or that stopped by itself (with a canary first)."""
    asyncio.run(_change(quiet_settings(), lambda jobs: jobs.resume, **given))


@replay.command("cancel")
@click.argument("job_id", metavar="JOB")
@why_option
@by_option
@json_option
def cancel(**given: Any) -> None:
    """End a job: what has gone out stays out, the rest stays an open dead letter."""
    asyncio.run(_change(quiet_settings(), lambda jobs: jobs.cancel, **given))


@replay.command("rate")
@click.argument("job_id", metavar="JOB")
@click.argument("rate", type=click.FloatRange(0, MAX_RATE, min_open=True))
@why_option
@by_option
@json_option
def rate(*, rate: float, **given: Any) -> None:
    """Change how many letters a second a job sends at most, while it runs: it takes that up within a second."""
    asyncio.run(_change(quiet_settings(), lambda jobs: partial(jobs.set_rate, rate=rate), **given))


async def _list(settings: Settings, *, limit: int, quiet: bool, as_json: bool) -> None:
    async with open_desk(settings) as desk:
        found = await desk.jobs.latest(limit=limit)
    if quiet:
        click.echo("".join(f"{progress.job.id}\n" for progress in found), nl=False)
    elif as_json:
        print_json({"jobs": [progress_document(progress) for progress in found]})
    else:
        views.print_list(console(), found)


async def _show(
    settings: Settings, text: str, *, with_letters: bool, follow: bool, wait: float | None, as_json: bool
) -> int:
    async with open_desk(settings) as desk:
        job_id = await desk.jobs.full_id(text)
        if follow or wait is not None:
            return await watch(desk, job_id, wait, as_json=as_json)
        progress = await desk.jobs.progress(job_id)
        letters = await desk.troubled(job_id) if with_letters else []
        if as_json:
            print_json(progress_document(progress, letters if with_letters else None))
        else:
            views.print_progress(console(), progress)
            views.print_letters(console(), letters)
        return 0


async def _change(
    settings: Settings,
    how: Callable[[ReplayJobs], Callable[..., Awaitable[object]]],
    *,
    job_id: str,
    why: str,
    by: str | None,
    as_json: bool,
) -> None:
    async with open_desk(settings) as desk:
        full_id = await desk.jobs.full_id(job_id)
        try:
            await how(desk.jobs)(full_id, by=by or operator_name(settings), why=why.strip())
        except JobConflictError as error:
            raise click.ClickException(str(error)) from error
        progress = await desk.jobs.progress(full_id)
    if as_json:
        print_json(progress_document(progress))
    else:
        views.print_progress(console(), progress)
