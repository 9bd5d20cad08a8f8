"""`logistics dead-letters edit`."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, BinaryIO

import click

from infra.mongodb.audit_log import MongoAuditLog
from infra.rabbitmq.replay_publisher import ReplayPublisher
from infra.telemetry.logs import setup_logging
from worker.cli import dead_letter_edit_views as views
from worker.cli.dead_letter_filters import Duration, Utf8Text
from worker.cli.dead_letter_new_body import new_body, read_fields, read_headers
from worker.cli.dead_letter_store import Letters, letters_of, open_store, operator_name
from worker.cli.dead_letter_views import console
from worker.cli.output import print_json
from worker.cli.why import checked_why, why_option
from worker.domain.audit import Audit
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.edit import Edit, EditReport, EditResult
from worker.domain.editing import Editing
from worker.domain.errors import StoreUnavailableError
from worker.domain.letter_story import ReplayEnd, ReplayStory
from worker.domain.tracing import ITracing
from worker.edit_documents import edit_document
from worker.services import editing_on
from worker.settings import Settings, load_settings
from worker.spans import SPANS_TIMEOUT, open_tracing

_POLL = 0.5


@click.command("edit")
@click.argument("letter_id", metavar="ID")
@click.option("--file", type=click.File("rb"), help="The new body, byte for byte; - is standard input.")
@click.option(
    "--set",
    "fields",
    metavar="FIELD=VALUE",
    type=Utf8Text(),
    multiple=True,
    callback=read_fields,
    help="Set a field of a JSON body; VALUE is JSON, or text where it is none; a.b is b within a.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME=VALUE",
    type=Utf8Text(),
    multiple=True,
    callback=read_headers,
    help="Set a header of the publisher's; NAME= drops it.",
)
@click.option("--to-exchange", "exchange", metavar="NAME", type=Utf8Text(), help="Send this copy to another exchange.")
@click.option("--to-key", "routing_key", metavar="KEY", type=Utf8Text(), help="Send it with another routing key.")
@why_option
@click.option("--by", metavar="NAME", type=Utf8Text(), help="Who does it, for history and audit log.")
@click.option("--dry-run", is_flag=True, help="Check it and show the difference; send nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before sending.")
@click.option("--wait", metavar="DURATION", type=Duration(), help="Wait so long for the outcome: 30s, 5m.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def edit(
    ctx: click.Context,
    /,
    *,
    letter_id: str,
    file: BinaryIO | None,
    fields: Mapping[str, Any],
    why: str | None,
    by: str | None,
    dry_run: bool,
    yes: bool,
    wait: float | None,
    as_json: bool,
    **changes: Any,
) -> None:
    """Correct an open dead letter's body and send it, as one copy; the body it had is kept.

    The new body comes from --file, from --set, or from your editor ($VISUAL, $EDITOR) when nothing is to be changed
    otherwise. It must be a valid order of the same order id. The difference is shown before anything is sent. Of
    several operators who send at once one does, the others are told who. If the broker refuses the copy, the letter
    is open and keeps the edited body; if the connection breaks, it is open after a minute unless its copy was taken.

    Exit code 1: it was not sent, or it failed again while it was waited for.

    \b
    Examples:
      logistics dead-letters edit 1a2b3c4d --why "typo in the town"
      logistics dead-letters edit 1a2b3c4d --set destination=Bergen --why "moved" --wait 30s
      logistics dead-letters edit 1a2b3c4d --file body.json --why "corrected by sales" --yes
      logistics dead-letters edit 1a2b3c4d --header x-tenant=acme --why "wrong tenant" --dry-run
    """
    if file is not None and fields:
        raise click.UsageError("--file and --set exclude each other")
    reason = checked_why(why, dry_run=dry_run)
    settings = load_settings()
    setup_logging("WARNING")
    tracing = open_tracing(settings, service="logistics-edit", instance=f"logistics edit {os.getpid()}")
    ctx.call_on_close(lambda: tracing.close(timeout=SPANS_TIMEOUT))
    command = _EditCommand(settings, tracing)
    letter = asyncio.run(command.load(letter_id))
    body = new_body(letter, file, fields, needs_editor=not any(changes.values()))
    prepared = asyncio.run(command.prepare(letter, body=body, **changes))
    if not as_json:
        views.print_edit(console(), prepared)
    report: EditReport | None = None
    story: ReplayStory | None = None
    if not dry_run:
        _ask(yes=yes)
        report, story = asyncio.run(command.send(prepared, why=reason, by=by or operator_name(settings), wait=wait))
    if as_json:
        print_json(edit_document(prepared, report, story, waited=wait is not None))
    else:
        views.print_report(console(), report, story)
    ctx.exit(1 if report is not None and _is_failure(report, story) else 0)


def _ask(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("the edited dead letter would be sent: confirm with --yes")
    click.confirm("Send it?", abort=True, err=True)


def _is_failure(report: EditReport, story: ReplayStory | None) -> bool:
    ended_badly = story is not None and story.outcome not in {ReplayEnd.RESOLVED, ReplayEnd.ON_ITS_WAY}
    return report.result is not EditResult.SENT or ended_badly


class _EditCommand:
    """The steps of the command."""

    def __init__(self, settings: Settings, tracing: ITracing) -> None:
        self._settings = settings
        self._tracing = tracing

    async def load(self, text: str) -> DeadLetterRecord:
        async with self._open() as (letters, editing, _):
            return await editing.load(await letters.full_id(text))

    async def prepare(self, letter: DeadLetterRecord, **changes: Any) -> Edit:
        async with self._open() as (_, editing, __):
            return editing.prepare(letter, **changes)

    async def send(
        self, prepared: Edit, *, why: str, by: str, wait: float | None
    ) -> tuple[EditReport, ReplayStory | None]:
        async with self._open() as (_, editing, publisher):
            await publisher.ping()  # before anything is claimed
            report = await editing.send(prepared, why=why, by=by)
            if wait is None or report.result is not EditResult.SENT:
                return report, None
            return report, await _outcome(editing, prepared.after.id, report.replay_id, seconds=wait)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Letters, Editing, ReplayPublisher]]:
        publisher = ReplayPublisher(self._settings.required("amqp_url"), name="logistics edit", tracing=self._tracing)
        async with open_store(self._settings) as store:
            letters = letters_of(store)
            editing = editing_on(
                letters.dead_letters,
                letters.edits,
                publisher,
                Audit(MongoAuditLog(store)),
                max_body_bytes=self._settings.max_body_bytes,
            )
            try:
                yield letters, editing, publisher
            finally:
                await publisher.close()


async def _outcome(editing: Editing, letter_id: str, replay_id: str, *, seconds: float) -> ReplayStory | None:
    """Return what became of the copy, as soon as it is known or the time is over."""
    over, story = time.monotonic() + seconds, None
    while True:
        with suppress(StoreUnavailableError):  # the copy is out, which must be told; the store may be back in time
            story = await editing.outcome(letter_id, replay_id)
        if time.monotonic() >= over or (story is not None and story.outcome is not ReplayEnd.ON_ITS_WAY):
            return story
        await asyncio.sleep(min(_POLL, max(over - time.monotonic(), 0)))
