"""`logistics replay start`."""

import asyncio
import sys
from typing import Any

import click
from rich.text import Text

from worker.cli import replay_views as views
from worker.cli.dead_letter_filters import names_some, selecting
from worker.cli.dead_letter_store import operator_name
from worker.cli.dead_letter_views import console
from worker.cli.output import print_json
from worker.cli.replay_options import by_option, follow_option, job_options, json_option, options_for_jobs, wait_option
from worker.cli.replay_store import Desk, open_desk, quiet_settings
from worker.cli.replay_watch import warn_without_runner, watch
from worker.cli.why import checked_why, why_option
from worker.domain.replay_job import ReplayJob, ReplayOptions
from worker.domain.replay_plan import ReplayPlan
from worker.domain.selection import Selection
from worker.replay_documents import plan_document, progress_document
from worker.settings import Settings


@click.command("start")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@selecting()
@click.option("--all", "everything", is_flag=True, help="Every open dead letter.")
@options_for_jobs
@click.option("--dry-run", is_flag=True, help="Only show what would go out, and what would not and why.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before more than one goes out.")
@why_option
@by_option
@follow_option
@wait_option
@json_option
def start(
    *,
    ids: tuple[str, ...],
    selection: Selection,
    everything: bool,
    dry_run: bool,
    yes: bool,
    why: str | None,
    **given: Any,
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
    _check_use(ids, selection, everything=everything)
    reason = checked_why(why, dry_run=dry_run)
    settings = quiet_settings()
    sys.exit(asyncio.run(_start(settings, ids, selection, dry_run=dry_run, yes=yes, why=reason, **given)))


def _check_use(ids: tuple[str, ...], selection: Selection, *, everything: bool) -> None:
    """Refuse what may not be meant."""
    named = bool(ids) or names_some(selection)
    if not named and not everything:
        raise click.UsageError("say which: IDs, filters such as --group or --since, or --all")
    if named and everything:
        raise click.UsageError("--all means all: it goes with neither IDs nor filters")


async def _start(
    settings: Settings,
    ids: tuple[str, ...],
    selection: Selection,
    *,
    dry_run: bool,
    yes: bool,
    why: str,
    by: str | None,
    follow: bool,
    wait: float | None,
    as_json: bool,
    **given: Any,
) -> int:
    options = job_options(settings, **given)
    async with open_desk(settings) as desk:
        selection = await desk.with_full_ids(selection, ids)
        if not dry_run:
            await desk.jobs.refuse_a_second()
        plan = await desk.jobs.plan(selection)
        if dry_run:
            _show_plan(plan, options, as_json=as_json)
            return 0
        if not plan.total:
            raise click.ClickException(plan.why_nothing)
        _ask(plan, options, yes=yes, as_json=as_json)
        job = await desk.jobs.start(selection, options, by=by or operator_name(settings), why=why)
        if follow or wait is not None:
            return await watch(desk, job.id, wait, as_json=as_json)
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
    await warn_without_runner(desk)
