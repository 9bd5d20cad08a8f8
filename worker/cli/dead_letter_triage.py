"""`logistics dead-letters discard` and `restore`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import click

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.triage import MongoTriage
from worker.cli import dead_letter_triage_views as views
from worker.cli.dead_letter_filters import Utf8Text, names_some, selecting
from worker.cli.dead_letter_store import Letters, letters_of, open_store, operator_name
from worker.cli.dead_letter_views import console
from worker.cli.output import print_json
from worker.cli.why import checked_why, why_option
from worker.domain.audit import Audit
from worker.domain.selection import Selection
from worker.domain.triage import Triage, TriagePlan, TriageReport
from worker.settings import Settings, load_settings
from worker.triage_documents import DONE, plan_document, report_document

Command = Callable[..., None]


def _triage_options(command: Command) -> Command:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output."),
        click.option("--dry-run", is_flag=True, help="Only show what would be moved."),
        click.option("--yes", "-y", is_flag=True, help="Do not ask before moving more than one."),
        click.option("--by", metavar="NAME", type=Utf8Text(), help="Who does it, for history and audit log."),
        why_option,
    ):
        command = option(command)
    return command


@click.command("discard")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@selecting()
@click.option("--all", "everything", is_flag=True, help="Every open dead letter.")
@_triage_options
@click.pass_context
def discard(ctx: click.Context, /, **options: Any) -> None:
    """Set open dead letters aside that nobody will replay; they go for good when their retention is over.

    Name them by ID (the beginning of one is enough), by filters, or take them --all. Only letters that are open when
    the command looks are moved, none that arrives later. A discarded letter is kept for LOGISTICS_DISCARD_RETENTION
    (14 days) and can be restored until then; 'list --state discarded' says when each expires. One whose message fails
    again is open again by itself.

    Exit code 1: a letter named by ID was not moved.

    \b
    Examples:
      logistics dead-letters discard 1a2b3c4d --why "test order"
      logistics dead-letters discard --group 0f3a9c2b71de --why "supplier A left" --dry-run
      logistics dead-letters discard --reason malformed --until 7d --why "publisher mended" --yes --by anna
    """
    _run(ctx, "discard", **options)


@click.command("restore")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@selecting()
@click.option("--all", "everything", is_flag=True, help="Every discarded dead letter.")
@_triage_options
@click.pass_context
def restore(ctx: click.Context, /, **options: Any) -> None:
    """Open discarded dead letters again; they do not expire any more.

    A letter that is named by ID and has been replaying for longer than LOGISTICS_REPLAY_OVERDUE (30 minutes) is opened,
    too: its copy was lost, or purged by hand. If the copy does turn up, the order still ships once.

    Exit code 1: a letter named by ID was not moved.

    \b
    Examples:
      logistics dead-letters restore 1a2b3c4d --why "was a real order"
      logistics dead-letters restore --group 0f3a9c2b71de --why "wrong group" --yes
      logistics dead-letters restore --since 1d --why "discarded by mistake" --dry-run
    """
    _run(ctx, "restore", **options)


def _run(
    ctx: click.Context,
    action: str,
    *,
    ids: tuple[str, ...],
    selection: Selection,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    why: str | None,
    by: str | None,
) -> None:
    reason = checked_why(why, dry_run=dry_run)
    named = bool(ids) or names_some(selection)
    if not named and not everything:
        raise click.UsageError("say which: IDs, filters such as --group or --since, or --all")
    if named and everything:
        raise click.UsageError("--all means all: it goes with neither IDs nor filters")
    settings = load_settings()
    plan = asyncio.run(_plan(settings, action, ids, selection))
    overdue_after = timedelta(seconds=settings.replay_overdue)
    if dry_run:
        if as_json:
            print_json(plan_document(plan, dry_run=True))
        else:
            views.print_plan(console(), plan, overdue_after)
        return
    if plan.count > 1 and not yes:
        _ask(plan, overdue_after, as_json=as_json)
    report = asyncio.run(_perform(settings, plan, why=reason, by=by or operator_name(settings)))
    if as_json:
        print_json({**plan_document(plan, dry_run=False), **report_document(plan, report)})
    else:
        views.print_report(console(), plan, report, overdue_after)
    ctx.exit(1 if ids and (plan.left_alone or plan.not_matching or report.changed) else 0)


async def _plan(settings: Settings, action: str, ids: tuple[str, ...], selection: Selection) -> TriagePlan:
    async with _open_triage(settings) as (letters, triage):
        full_ids = dict.fromkeys([await letters.full_id(text) for text in ids])
        chosen = replace(selection, ids=tuple(full_ids))
        return await (triage.plan_discard(chosen) if action == "discard" else triage.plan_restore(chosen))


async def _perform(settings: Settings, plan: TriagePlan, *, why: str, by: str) -> TriageReport:
    if not plan.count:
        return TriageReport(0, given_up=0, changed=0)
    async with _open_triage(settings) as (_, triage):
        move: Callable[..., Awaitable[TriageReport]] = triage.discard if plan.action == "discard" else triage.restore
        return await move(plan, why=why, by=by)


@asynccontextmanager
async def _open_triage(settings: Settings) -> AsyncIterator[tuple[Letters, Triage]]:
    async with open_store(settings) as store:
        letters = letters_of(store)
        yield (
            letters,
            Triage(
                dead_letters=letters.dead_letters,
                triage=MongoTriage(store),
                audit=Audit(MongoAuditLog(store)),
                retention=timedelta(seconds=settings.discard_retention),
                overdue_after=timedelta(seconds=settings.replay_overdue),
            ),
        )


def _ask(plan: TriagePlan, overdue_after: timedelta, *, as_json: bool) -> None:
    """Have the operator agree. Raises click.UsageError where there is nobody to ask, click.Abort for a no."""
    done = DONE[plan.action].lower()
    if not sys.stdin.isatty():
        raise click.UsageError(f"{plan.count:,} dead letters would be {done}: confirm with --yes")
    if not as_json:
        views.print_left_alone(console(), plan, overdue_after)
    click.confirm(f"{plan.action.capitalize()} {plan.count:,} dead letters?", abort=True, err=True)
