"""`logistics audit`."""

import asyncio
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from worker.audit_documents import entry_document
from worker.cli.dead_letter_filters import Time, Utf8Text
from worker.cli.dead_letter_text import at
from worker.cli.dead_letter_views import console, is_wide, open_table
from worker.cli.output import plain, print_json
from worker.cli.replay_store import open_desk
from worker.domain.audit_entry import AuditAction, AuditEntry
from worker.settings import load_settings

_DONE = "done"
_GROUPS = ("replay", "workers")
"""Whatever was done to replay jobs, to workers."""
_NOT_FINISHED = "not finished"


@click.command("audit")
@click.option("--since", metavar="TIME", type=Time(), help="At TIME or later: 2h, 30m, 3d ago, or ISO.")
@click.option("--until", metavar="TIME", type=Time(), help="Before TIME.")
@click.option("--who", metavar="NAME", type=Utf8Text(), help="By this operator.")
@click.option("--action", type=click.Choice([*map(str, AuditAction), *_GROUPS]), help="This action.")
@click.option(
    "--job", "job_id", metavar="ID", type=Utf8Text(), help="About this replay job; the beginning of its id is enough."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def audit(*, as_json: bool, **which: Any) -> None:
    """Show who did what to dead letters and workers, when, why and to how many, newest first.

    An action is written down before it is performed and its end afterwards; nothing is changed or removed later. One
    that is "not finished" is still under way, or the process died over it: it may have moved some.

    \b
    Examples:
      logistics audit
      logistics audit --since 1d --who anna
      logistics audit --action replay --json | jq '.entries[] | .what'
    """
    entries = asyncio.run(_entries(**which))
    if as_json:
        print_json({"entries": [entry_document(entry) for entry in entries]})
        return
    _print(entries)


async def _entries(**which: Any) -> Sequence[AuditEntry]:
    async with open_desk(load_settings()) as desk:
        if which["job_id"] is not None:
            which["job_id"] = await desk.jobs.full_id(which["job_id"])
        return await desk.audit_log.entries(**which)


def _print(entries: Sequence[AuditEntry]) -> None:
    out = console()
    if not entries:
        out.print(Text("Nothing that matches was done."))
        return
    if not is_wide(out):
        for entry in entries:
            _print_in_lines(out, entry)
        return
    table = open_table("when", "who", "action", "how many", "what and why")
    for entry in entries:
        table.add_row(
            Text(at(entry.at)),
            Text(plain(entry.who)),
            Text(plain(entry.action)),
            Text(f"{entry.count:,}" if entry.count is not None else "-", justify="right"),
            Text(_what_and_why(entry)),
        )
    out.print(table)


def _print_in_lines(out: Console, entry: AuditEntry) -> None:
    """Print an entry where a table has no room: a line of facts, and below it what and why."""
    how_many = f"  {entry.count:,}" if entry.count is not None else ""
    out.print(Text.assemble(f"{at(entry.at)}  ", (plain(entry.who), "bold"), f"  {plain(entry.action)}{how_many}"))
    out.print(Padding(Text(_what_and_why(entry), overflow="fold"), (0, 0, 0, 4)))


def _what_and_why(entry: AuditEntry) -> str:
    end = _NOT_FINISHED if entry.result is None else entry.result
    parts = [entry.what, f"why: {entry.why}" if entry.why else "", "" if end == _DONE else end]
    return plain(" · ".join(part for part in parts if part))
