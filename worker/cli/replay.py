"""`logistics replay`: dead letters go out again, a few first, then ever faster."""

import asyncio
import sys
from typing import Any

import click
from rich.text import Text

from infra.telemetry.logs import setup_logging
from worker.cli import replay_views as views
from worker.cli.dead_letter_filters import Utf8Text, names_some, selecting
from worker.cli.dead_letter_store import operator_name
from worker.cli.dead_letter_views import console
from worker.cli.output import print_json
from worker.cli.replay_follow import follow_job
from worker.cli.replay_json import plan_document, progress_document
from worker.cli.replay_options import duration, job_options, options_for_jobs
from worker.cli.replay_store import Desk, open_desk
from worker.domain.errors import JobConflictError
from worker.domain.replay_job import ReplayJob, ReplayOptions
from worker.domain.replay_jobs import ReplayPlan, ReplayProgress
from worker.domain.selection import DeadLetterState, Selection
from worker.settings import Settings, load_settings

_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
_by_option = click.option("--by", metavar="NAME", type=Utf8Text(), help="Who does it, for the audit log.")
_why_option = click.option("--why", metavar="TEXT", type=Utf8Text(), default="", help="Why, for the audit log.")
_follow_option = click.option("--follow", "-f", is_flag=True, help="Watch it until it ends. Ctrl-C ends the watching.")
_wait_option = click.option("--wait", metavar="DURATION", callback=duration, help="Watch it for so long: 30s, 5m.")


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
      logistics replay pause ID · resume ID · cancel ID
    """


@replay.command("start")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@selecting(default_state=None)
@click.option("--all", "everything", is_flag=True, help="Every open dead letter.")
@options_for_jobs
@click.option("--dry-run", is_flag=True, help="Only show what would go out, and what would not and why.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before more than one goes out.")
@click.option("--why", metavar="TEXT", type=Utf8Text(), help="Why, for the audit log. Needed but for a dry run.")
@_by_option
@_follow_option
@_wait_option
@_json_option
def start(
    *, ids: tuple[str, ...], selection: Selection, everything: bool, dry_run: bool, yes: bool, **given: Any
) -> None:
    """Start a job with the dead letters named by ID (the beginning is enough), by filters, or with --all.

    Only those that are open now are part of it: what arrives while it runs is left alone, and said. What is planned is
    shown first.

    Exit codes: 0 started (with --follow or --wait: every letter is resolved), 1 refused, stopped, or not every letter
    is resolved, 2 wrong use.

    \b
    Examples:
      logistics replay start --group 0f3a9c2b71de --dry-run
      logistics replay start --group 0f3a9c2b71de --why 'supplier fixed at 03:10' --yes --follow
      logistics replay start 1a2b3c4d --why 'one to see'  --wait 1m
      logistics replay start --reason attempts_exhausted --since 2h --rate 50 --canary 5 --why 'outage over' -y
      logistics replay start --group 0f3a9c2b71de --to-exchange orders-v2 --to-key order.placed --why 'moved' -y
    """
    _check_use(ids, selection, everything=everything, why=given["why"], dry_run=dry_run)
    settings = _settings()
    sys.exit(asyncio.run(_start(settings, ids, selection, dry_run=dry_run, yes=yes, **given)))


@replay.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many, newest first.")
@click.option("--quiet", "-q", is_flag=True, help="Only the ids, one a line: for scripts.")
@_json_option
def list_(*, limit: int, quiet: bool, as_json: bool) -> None:
    """List the replay jobs, newest first, each with the sum of its letters."""
    if quiet and as_json:
        raise click.UsageError("--quiet and --json exclude each other")
    asyncio.run(_list(_settings(), limit=limit, quiet=quiet, as_json=as_json))


@replay.command("show")
@click.argument("job_id", metavar="JOB")
@click.option("--letters", "with_letters", is_flag=True, help="List the letters that did not end well.")
@_follow_option
@_wait_option
@_json_option
def show(*, job_id: str, with_letters: bool, follow: bool, wait: float | None, as_json: bool) -> None:
    """Show one job: how far it is, what came of its letters, when it will have sent them all.

    Exit code 1 with --follow or --wait: it stopped, or not every letter is resolved.
    """
    sys.exit(
        asyncio.run(_show(_settings(), job_id, with_letters=with_letters, follow=follow, wait=wait, as_json=as_json))
    )


@replay.command("pause")
@click.argument("job_id", metavar="JOB")
@_why_option
@_by_option
@_json_option
def pause(**given: Any) -> None:
    """Send nothing more until the job is resumed. What is out goes on, and its outcome is noted."""
    asyncio.run(_change(_settings(), "pause", **given))


@replay.command("resume")
@click.argument("job_id", metavar="JOB")
@_why_option
@_by_option
@_json_option
def resume(**given: Any) -> None:
    """Go on with a job that was paused (where it was) or that stopped by itself (with a canary first)."""
    asyncio.run(_change(_settings(), "resume", **given))


@replay.command("cancel")
@click.argument("job_id", metavar="JOB")
@_why_option
@_by_option
@_json_option
def cancel(**given: Any) -> None:
    """End a job: what has gone out stays out, the rest stays an open dead letter."""
    asyncio.run(_change(_settings(), "cancel", **given))


def _settings() -> Settings:
    settings = load_settings()
    setup_logging("ERROR")
    return settings


def _check_use(ids: tuple[str, ...], selection: Selection, *, everything: bool, why: str | None, dry_run: bool) -> None:
    """Refuse what may not be meant."""
    named = bool(ids) or names_some(selection)
    if not named and not everything:
        raise click.UsageError("say which: IDs, filters such as --group or --since, or --all")
    if named and everything:
        raise click.UsageError("--all means all: it goes with neither IDs nor filters")
    if selection.state not in {None, DeadLetterState.OPEN}:
        raise click.UsageError(f"only open dead letters are replayed: --state {selection.state} leaves none")
    if not dry_run and not (why or "").strip():
        raise click.UsageError("say why, for the audit log: --why 'supplier fixed at 03:10'")


async def _start(
    settings: Settings,
    ids: tuple[str, ...],
    selection: Selection,
    *,
    dry_run: bool,
    yes: bool,
    why: str | None,
    by: str | None,
    follow: bool,
    wait: float | None,
    as_json: bool,
    **given: Any,
) -> int:
    options = job_options(settings, **given)
    async with open_desk(settings) as desk:
        selection = await desk.with_full_ids(selection, ids)
        plan = await desk.jobs.plan(selection)
        if dry_run:
            _show_plan(plan, options, as_json=as_json)
            return 0
        if not plan.total:
            raise click.ClickException(views.nothing_to_send(plan))
        _ask(plan, options, yes=yes, as_json=as_json)
        job = await desk.jobs.start(selection, options, by=by or operator_name(settings), why=(why or "").strip())
        if follow or wait is not None:
            return await _watch(desk, job.id, wait, as_json=as_json)
        await _say_started(desk, job, as_json=as_json)
        return 0


def _show_plan(plan: ReplayPlan, options: ReplayOptions, *, as_json: bool) -> None:
    if as_json:
        print_json(plan_document(plan, options))
        return
    out = console()
    views.print_plan(out, plan, options)
    out.print(Text("This was a dry run: nothing was sent."))


def _ask(plan: ReplayPlan, options: ReplayOptions, *, yes: bool, as_json: bool) -> None:
    """Show the plan and have the operator agree. Raises click.UsageError where there is nobody to ask."""
    if not as_json:
        views.print_plan(console(), plan, options)
    if plan.total == 1 or yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{plan.total:,} dead letters would be replayed: confirm with --yes")
    click.confirm(f"Replay {plan.total:,} dead letters?", abort=True, err=True)


async def _say_started(desk: Desk, job: ReplayJob, *, as_json: bool) -> None:
    if as_json:
        print_json(progress_document(await desk.jobs.progress(job.id)))
        return
    click.echo(f"Job {job.id} started. Watch it: logistics replay show {job.id} --follow")
    if not await desk.fleet.runs_replays():
        click.echo("No worker runs replay jobs now: this one waits until one does (logistics worker).", err=True)


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
            return await _watch(desk, job_id, wait, as_json=as_json)
        progress = await desk.jobs.progress(job_id)
        letters = await desk.troubled(job_id) if with_letters else []
        if as_json:
            print_json(progress_document(progress, letters if with_letters else None))
        else:
            views.print_progress(console(), progress)
            views.print_letters(console(), letters)
        return 0


async def _watch(desk: Desk, job_id: str, wait: float | None, *, as_json: bool) -> int:
    if not await desk.fleet.runs_replays():
        click.echo("No worker runs replay jobs now: this one waits until one does (logistics worker).", err=True)
    progress = await follow_job(desk.jobs, job_id, seconds=wait)
    if as_json:
        print_json(progress_document(progress))
    else:
        views.print_progress(console(), progress)
    return 0 if _ended_well(progress) else 1


def _ended_well(progress: ReplayProgress) -> bool:
    return progress.job.is_over and progress.tally.is_success


async def _change(settings: Settings, verb: str, *, job_id: str, why: str, by: str | None, as_json: bool) -> None:
    async with open_desk(settings) as desk:
        full_id = await desk.jobs.full_id(job_id)
        change = {"pause": desk.jobs.pause, "resume": desk.jobs.resume, "cancel": desk.jobs.cancel}[verb]
        try:
            await change(full_id, by=by or operator_name(settings), why=why.strip())
        except JobConflictError as error:
            raise click.ClickException(str(error)) from error
        progress = await desk.jobs.progress(full_id)
    if as_json:
        print_json(progress_document(progress))
    else:
        views.print_progress(console(), progress)
