"""`logistics dead-letters replay`."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import click
from rich.text import Text

from infra.telemetry.logs import setup_logging
from worker.cli import dead_letter_replay_views as views
from worker.cli.dead_letter_filters import Utf8Text, names_some, selecting
from worker.cli.dead_letter_json import plan_document, report_document
from worker.cli.dead_letter_progress import progress
from worker.cli.dead_letter_store import open_replay, operator_name
from worker.cli.dead_letter_views import console
from worker.cli.output import print_json
from worker.domain.durations import parse_duration
from worker.domain.errors import StoreUnavailableError
from worker.domain.replay import ReplayService
from worker.domain.replay_report import ReplayOutcome, ReplayPlan, ReplayReport, ReplayResult
from worker.domain.selection import Selection
from worker.settings import Settings, load_settings

_POLL = 0.5
_FAILURES = (ReplayResult.FAILED, ReplayResult.UNKNOWN)


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Done:
    """A replay that was performed."""

    report: ReplayReport
    outcomes: Mapping[str, ReplayOutcome] | None

    @property
    def is_failure(self) -> bool:
        not_sent = any(self.report.count(result) for result in _FAILURES) or self.report.stopped is not None
        return not_sent or ReplayOutcome.FAILED_AGAIN in (self.outcomes or {}).values()


@click.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@selecting(default_state=None)
@click.option("--all", "everything", is_flag=True, help="Every open dead letter.")
@click.option("--dry-run", is_flag=True, help="Only show what would be sent.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before sending more than one.")
@click.option("--by", metavar="NAME", type=Utf8Text(), help="Who replays, for the letters' history.")
@click.option("--wait", metavar="DURATION", callback=_duration, help="Wait so long for the outcomes: 30s, 5m.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    *,
    ids: tuple[str, ...],
    selection: Selection,
    everything: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Send open dead letters again, to where they came from, each as a fresh message with no failed tries.

    Name them by ID (the beginning of one is enough), by filters, or take them --all. Only open ones are sent; each is
    claimed first, so two operators never send the same one, and who did it is noted: --by, else LOGISTICS_OPERATOR,
    else the user of the operating system.

    The worker marks a letter resolved when its order ships, and open again when it fails again. A letter whose sending
    broke off is open again after a minute. However often a letter is sent, its order is dispatched once.

    Exit code 1: a letter that was to be sent was not, or it failed again while it was waited for. Ctrl-C stops after
    what is in flight.

    \b
    Examples:
      logistics dead-letters replay 1a2b3c4d --wait 30s
      logistics dead-letters replay --reason attempts_exhausted --since 2h --dry-run
      logistics dead-letters replay --group 0f3a9c2b71de --yes --by anna
      logistics dead-letters replay --all --wait 5m
    """
    _check_use(ids, selection, everything=everything)
    settings = load_settings()
    setup_logging("WARNING")
    command = _ReplayCommand(settings, **options)
    plan = asyncio.run(command.plan(ids, selection))
    if dry_run:
        command.show_plan(plan)
        return
    if len(plan.ids) > 1 and not yes:
        command.ask(plan)
    done = asyncio.run(command.perform(plan)) if plan.ids else _Done(ReplayReport(), None)
    command.show(plan, done)
    left_out = plan.not_matching or plan.left_alone or done.report.count(ReplayResult.SKIPPED)
    ctx.exit(1 if done.is_failure or (ids and left_out) else 0)


def _check_use(ids: tuple[str, ...], selection: Selection, *, everything: bool) -> None:
    """Refuse what may not be meant."""
    named = bool(ids) or names_some(selection)
    if not named and not everything:
        raise click.UsageError("say which: IDs, filters such as --group or --since, or --all")
    if named and everything:
        raise click.UsageError("--all means all: it goes with neither IDs nor filters")


class _ReplayCommand:
    """The steps of the command."""

    def __init__(self, settings: Settings, *, by: str | None, wait: float | None, as_json: bool) -> None:
        self._settings = settings
        self._by = by or operator_name(settings)
        self._wait = wait
        self._as_json = as_json

    async def plan(self, ids: tuple[str, ...], selection: Selection) -> ReplayPlan:
        async with open_replay(self._settings) as (letters, service, _):
            full_ids = [await letters.full_id(text) for text in ids]
            return await service.plan(replace(selection, ids=tuple(dict.fromkeys(full_ids))))

    def show_plan(self, plan: ReplayPlan) -> None:
        if self._as_json:
            print_json(plan_document(plan))
            return
        out = console()
        views.print_plan(out, plan)
        out.print(Text("This was a dry run: nothing was sent."))

    def ask(self, plan: ReplayPlan) -> None:
        """Have the operator agree. Raises click.UsageError where there is nobody to ask, click.Abort for a no."""
        if not sys.stdin.isatty():
            raise click.UsageError(f"{len(plan.ids):,} dead letters would be replayed: confirm with --yes")
        if not self._as_json:
            views.print_plan(console(), plan)
        click.confirm(f"Replay {len(plan.ids):,} dead letters?", abort=True, err=True)

    async def perform(self, plan: ReplayPlan) -> _Done:
        async with open_replay(self._settings) as (_, service, publisher):
            await publisher.ping()  # before anything is claimed
            with _interruptible() as interrupted, progress("replayed", len(plan.ids)) as one_done:
                report = await service.replay(
                    plan.ids, by=self._by, on_progress=lambda _: one_done(), go_on=lambda: not interrupted.is_set()
                )
            outcomes = await self._wait_for(service, report) if self._wait is not None else None
            return _Done(report, outcomes)

    async def _wait_for(self, service: ReplayService, report: ReplayReport) -> Mapping[str, ReplayOutcome]:
        """Return the outcomes, as soon as all are known or the time is over."""
        sent, outcomes, over = report.sent, dict[str, ReplayOutcome](), time.monotonic() + (self._wait or 0.0)
        with _interruptible() as interrupted, progress("settled", len(sent)) as one_done:
            while True:
                started = time.monotonic()
                waiting = {letter: replay for letter, replay in sent.items() if not _is_settled(outcomes.get(letter))}
                news = await _news(service, waiting)
                for outcome in news.values():
                    if _is_settled(outcome):
                        one_done()
                outcomes.update(news)
                now = time.monotonic()
                if all(map(_is_settled, outcomes.values())) or interrupted.is_set() or now >= over:
                    return outcomes
                await asyncio.sleep(min(max(_POLL, now - started), over - now))  # never busy more than half the time

    def show(self, plan: ReplayPlan, done: _Done) -> None:
        if self._as_json:
            print_json(report_document(plan, done.report, done.outcomes))
            return
        out = console()
        views.print_report(out, plan, done.report)
        if done.outcomes is not None:
            views.print_outcomes(out, done.outcomes)
        if done.report.sent and (done.outcomes is None or ReplayOutcome.ON_ITS_WAY in done.outcomes.values()):
            out.print(Text("What is still on its way: logistics dead-letters list --state replaying"))
        if done.outcomes is not None and ReplayOutcome.FAILED_AGAIN in done.outcomes.values():
            out.print(Text("What failed again is open: logistics dead-letters groups"))


async def _news(service: ReplayService, waiting: Mapping[str, str]) -> Mapping[str, ReplayOutcome]:
    try:
        return await service.outcomes(waiting)
    except (
        StoreUnavailableError
    ):  # the copies are out, which must be told; the store may be back before the time is over
        return dict.fromkeys(waiting, ReplayOutcome.ON_ITS_WAY)


def _is_settled(outcome: ReplayOutcome | None) -> bool:
    return outcome in {ReplayOutcome.RESOLVED, ReplayOutcome.FAILED_AGAIN}


@contextmanager
def _interruptible() -> Iterator[asyncio.Event]:
    """Yield an event that the first Ctrl-C sets; a second one ends the program."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def interrupt() -> None:
        interrupted.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)
