"""`logistics workers`: who is there, and holding them back by hand."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.worker_controls import MongoWorkerControls
from infra.mongodb.workers import MongoWorkerReports
from worker.cli import workers_view as views
from worker.cli.dead_letter_filters import Utf8Text
from worker.cli.dead_letter_store import open_store, operator_name
from worker.cli.dead_letter_views import console
from worker.cli.output import plain, print_json
from worker.cli.replay_store import quiet_settings
from worker.domain.audit import Audit
from worker.domain.controls import MAX_PREFETCH, Wishes
from worker.domain.worker_controls import WorkerControls
from worker.fleet import Fleet
from worker.settings import Settings
from worker.worker_documents import answers_document, workers_document
from worker.worker_views import worker_views

Command = Callable[..., None]
Wishing = Callable[..., Awaitable[Wishes]]


@click.group("workers")
def workers() -> None:
    """Show the workers, and hold them back by hand: pause them, change how much they take at once, open the circuit.

    A wish for --all holds until it is taken back: also for workers that start later, whatever is restarted. One for a
    worker by NAME counts for this name, before what is wished of all; as names are HOST-PID, it mostly ends with the
    process. A newer wish for --all takes the place of those by name. Workers carry wishes out within 2 s, and while
    MongoDB is away they keep to those they know.

    \b
    Examples:
      logistics workers list
      logistics workers pause --all --why 'supplier migration until 14:00'
      logistics workers resume vm-5015                  one first, to see whether it works
      logistics workers resume --all
      logistics workers prefetch 10 --all --why 'supplier asks for less'
      logistics workers prefetch default --all
      logistics workers circuit open --all --why 'supplier ships to wrong addresses'
      logistics workers circuit reset --all             at once, without waiting for a probe
      logistics audit --action workers                  who did what
    """


def _holding(command: Command) -> Command:
    """Give a command the options of those that hold back or let go."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output."),
        click.option("--quiet", "-q", is_flag=True, help="Say nothing but what is wrong."),
        click.option("--by", metavar="NAME", type=Utf8Text(), help="Who does it, for everybody and the audit log."),
        click.option(
            "--why", metavar="TEXT", type=Utf8Text(), default="", help="For everybody to see; needed to hold back."
        ),
        click.option("--all", "everything", is_flag=True, help="All workers, those that start later included."),
        click.argument("names", nargs=-1, metavar="[NAME]...", type=Utf8Text()),
    ):
        command = option(command)
    return command


@workers.command("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the names of those that live, one a line: for scripts.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def list_(*, quiet: bool, as_json: bool) -> None:
    """Show the workers and what is held back by hand, by whom, since when and why."""
    if quiet and as_json:
        raise click.UsageError("--quiet and --json exclude each other")
    asyncio.run(_list(quiet_settings(), quiet=quiet, as_json=as_json))


@workers.command("pause")
@_holding
def pause(*, why: str, **given: Any) -> None:
    """Take no more orders, until resumed. What is in hand is finished; dead letters and delivery notices go on.

    A paused worker is live and ready: nobody restarts it for that. Orders wait in orders.work.

    Exit code 1: a worker has not answered within 3 s. It pauses as soon as it can read the wish.
    """
    _run(lambda controls: controls.pause, "Paused", why=_needed(why), **given)


@workers.command("resume")
@_holding
def resume(**given: Any) -> None:
    """Take orders again: one at first, doubling every half second up to the prefetch."""
    _run(lambda controls: controls.resume, "Resumed", **given)


@workers.command("prefetch")
@click.argument("prefetch", metavar="N|default")
@_holding
def prefetch(*, prefetch: str, why: str, **given: Any) -> None:
    """Handle at most N orders at once in each worker; `default`: as many as its LOGISTICS_PREFETCH says.

    More only where the supplier can take it: a worker makes as many requests at once.
    """
    number = _prefetch(prefetch)
    why = why if number is None else _needed(why)
    _run(lambda controls: partial(controls.set_prefetch, prefetch=number), "Changed", why=why, **given)


def _prefetch(text: str) -> int | None:
    if text == "default":
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PREFETCH):
        raise click.UsageError(
            f"{text!r} is no prefetch: write a number from 1 to {MAX_PREFETCH}, or 'default'. To take no orders: pause"
        )
    return int(text)


def _needed(why: str) -> str:
    if not why.strip():
        raise click.UsageError("say why, for everybody to see: --why 'supplier migration until 14:00'")
    return why


@workers.group("circuit")
def circuit() -> None:
    """Open the circuit to the supplier by hand, or close it now."""


@circuit.command("open")
@_holding
def open_(*, why: str, **given: Any) -> None:
    """Ask the supplier for nothing more, not even to probe, until 'circuit reset'.

    Orders wait in orders.work; those in hand that have not been sent yet come back there. None becomes a dead letter
    for it. A replay job stops.
    """
    _run(lambda controls: controls.open_circuit, "Opened", why=_needed(why), **given)


@circuit.command("reset")
@_holding
def reset(**given: Any) -> None:
    """Close the circuit now, whether it was opened by hand or by failures; it may open by itself again.

    After failures a worker closes it by itself, when a probe says that the supplier works. This is for those who know
    it already. Orders are taken slowly at first.
    """
    _run(lambda controls: controls.reset_circuit, "Closed", **given)


async def _list(settings: Settings, *, quiet: bool, as_json: bool) -> None:
    async with open_store(settings) as store:
        now = datetime.now(UTC)
        found = worker_views(await MongoWorkerReports(store).all(), now=now)
        wishes = await MongoWorkerControls(store).read()
    if quiet:
        click.echo("".join(f"{plain(worker.name)}\n" for worker in found if not worker.lost), nl=False)
    elif as_json:
        print_json(workers_document(found, wishes, now=now))
    else:
        views.print_workers(console(), found, wishes, now=now)


def _run(
    how: Callable[[WorkerControls], Wishing], done: str, *, names: tuple[str, ...], everything: bool, **given: Any
) -> None:
    if bool(names) == everything:
        raise click.UsageError("say which workers: names ('logistics workers list' shows them), or --all")
    sys.exit(asyncio.run(_wish(quiet_settings(), how, done, whom=None if everything else names, **given)))


async def _wish(
    settings: Settings,
    how: Callable[[WorkerControls], Wishing],
    done: str,
    *,
    whom: tuple[str, ...] | None,
    why: str,
    by: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    async with open_store(settings) as store:
        controls = WorkerControls(
            controls=MongoWorkerControls(store),
            workers=Fleet(MongoWorkerReports(store)),
            audit=Audit(MongoAuditLog(store)),
        )
        wishes = await how(controls)(whom, by=by or operator_name(settings), why=why.strip())
        answers = await controls.answers(wishes.revision, whom)
    if as_json:
        print_json(answers_document(wishes, answers))
    elif answers.silent or not quiet:
        click.echo(views.answers_in_words(done, answers))
    return 1 if answers.silent else 0
