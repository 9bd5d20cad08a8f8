"""Watching a replay job from a command: follow it, say how it stands, return the exit code."""

import click

from worker.cli import replay_views as views
from worker.cli.dead_letter_views import console
from worker.cli.output import print_json
from worker.cli.replay_follow import follow_job
from worker.cli.replay_store import Desk
from worker.replay_documents import progress_document


async def watch(desk: Desk, job_id: str, wait: float | None, *, as_json: bool) -> int:
    """Follow the job until it ends, `wait` seconds at most; return 0 when every letter of it is resolved, else 1."""
    await warn_without_runner(desk)
    progress = await follow_job(desk.jobs, job_id, seconds=wait)
    if as_json:
        print_json(progress_document(progress))
    else:
        views.print_progress(console(), progress)
    return 0 if progress.job.is_over and progress.tally.is_success else 1


async def warn_without_runner(desk: Desk) -> None:
    """Say so when no worker is there to perform a job."""
    if not await desk.fleet.runs_replays():
        click.echo("No worker runs replay jobs now: this one waits until one does (logistics worker).", err=True)
