"""`logistics dead-letters`: what failed and why, and how to get it shipped after all."""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
from rich.text import Text

from worker.cli import dead_letter_views as views
from worker.cli.dead_letter_edit import edit
from worker.cli.dead_letter_export import export
from worker.cli.dead_letter_filters import selecting
from worker.cli.dead_letter_store import Letters, open_letters
from worker.cli.dead_letter_text import shortened
from worker.cli.dead_letter_triage import discard, restore
from worker.cli.dead_letter_view import print_letter
from worker.cli.output import print_json
from worker.cli.replay_start import start as start_replay
from worker.domain.letter_versions import LetterVersions
from worker.domain.letter_view import LetterViews
from worker.domain.selection import DeadLetterGroup, DeadLetterState, Selection
from worker.letter_documents import letter_document, view_document
from worker.overview_words import counted
from worker.settings import load_settings

_MAX_LIMIT = 10_000

_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
_quiet_option = click.option("--quiet", "-q", is_flag=True, help="Only the names, one a line: for scripts.")


@click.group("dead-letters")
def dead_letters() -> None:
    """See what failed and why, replay it, and see whether the replay worked.

    A dead letter is open, replaying, resolved or discarded. The worker files what arrives in orders.dlq as open and
    marks a replayed one resolved when its order ships, or open again when it fails again.

    \b
    A way to work:
      logistics dead-letters groups                      what is wrong, most frequent first
      logistics dead-letters show ID                     one example: error, attempts, headers, body
      logistics replay start --group G --dry-run         what a replay would send
      logistics replay start --group G --why TEXT -f     send it, a canary first, and watch the outcomes
      logistics dead-letters edit ID --why TEXT          correct one, and send it
      logistics dead-letters discard ID --why TEXT       set one aside; 'restore' takes it back
    """


dead_letters.add_command(export)
dead_letters.add_command(start_replay, "replay")
dead_letters.add_command(edit)
dead_letters.add_command(discard)
dead_letters.add_command(restore)


@dead_letters.command("list")
@selecting(default_state=DeadLetterState.OPEN)
@click.option("--limit", type=click.IntRange(1, _MAX_LIMIT), default=50, show_default=True, help="Letters on a page.")
@click.option("--page", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="Which page.")
@_quiet_option
@_json_option
def list_(*, selection: Selection, limit: int, page: int, quiet: bool, as_json: bool) -> None:
    """List dead letters, newest first.

    \b
    Examples:
      logistics dead-letters list
      logistics dead-letters list --reason supplier_rejected --since 2h
      logistics dead-letters list --order-id A-17 --state all
      logistics dead-letters list --state replaying        what a replay is still about
    """
    _not_both(quiet=quiet, as_json=as_json)
    asyncio.run(_list(selection, limit=limit, page=page, quiet=quiet, as_json=as_json))


@dead_letters.command("show")
@click.argument("letter_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the body, byte for byte, and nothing else.")
@click.option("--version", type=click.IntRange(0), help="With --raw: an earlier body; 0 is the one that arrived.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def show(*, letter_id: str, raw: bool, version: int | None, as_json: bool) -> None:
    """Show everything about one dead letter. ID may be the beginning of an id, as long as only one begins so.

    \b
    Examples:
      logistics dead-letters show 1a2b3c4d
      logistics dead-letters show 1a2b3c4d --raw > body.json
      logistics dead-letters show 1a2b3c4d --raw --version 0
      logistics dead-letters show 1a2b3c4d --json | jq .timeline
    """
    if raw and as_json:
        raise click.UsageError("--raw and --json exclude each other")
    if version is not None and not raw:
        raise click.UsageError("--version goes with --raw")
    asyncio.run(_show(letter_id, raw=raw, version=version, as_json=as_json))


@dead_letters.command("groups")
@selecting(default_state=DeadLetterState.OPEN)
@_quiet_option
@_json_option
def groups(*, selection: Selection, quiet: bool, as_json: bool) -> None:
    """Count dead letters by what went wrong, most frequent first.

    A group has one fingerprint: the kind of error, where it was raised, and the reason.

    \b
    Examples:
      logistics dead-letters groups
      logistics dead-letters groups --since 1d --state all
      logistics replay start --group FINGERPRINT --dry-run
      logistics dead-letters groups --reason attempts_exhausted -q | head -n 1
    """
    _not_both(quiet=quiet, as_json=as_json)
    asyncio.run(_groups(selection, quiet=quiet, as_json=as_json))


@dead_letters.command("hours")
@selecting(default_state=DeadLetterState.OPEN)
@_json_option
def hours(*, selection: Selection, as_json: bool) -> None:
    """Count dead letters by the hour (UTC) in which they were dead-lettered last: when did it begin, is it over?

    \b
    Examples:
      logistics dead-letters hours --since 1d
      logistics dead-letters hours --group FINGERPRINT
    """
    asyncio.run(_hours(selection, as_json=as_json))


async def _list(selection: Selection, *, limit: int, page: int, quiet: bool, as_json: bool) -> None:
    skip = (page - 1) * limit
    async with open_letters(load_settings()) as store:
        total = await store.dead_letters.count(selection)
        letters = [letter async for letter in store.dead_letters.search(selection, limit=limit, skip=skip)]
        if quiet:
            _print_names(letter.id for letter in letters)
            return
        if as_json:
            documents = [letter_document(letter) for letter in letters]
            print_json({"total": total, "page": page, "limit": limit, "dead_letters": documents})
            return
        out = views.console()
        wide = views.is_wide(out)
        ids = await _written_ids(store, [letter.id for letter in letters], whole=wide)
    if letters:
        out.print(views.list_table(letters, ids, datetime.now(UTC), wide=wide))
    out.print(Text(_where_we_are(total, shown=len(letters), skip=skip, page=page)))


def _where_we_are(total: int, *, shown: int, skip: int, page: int) -> str:
    if not total:
        return "No dead letters match."
    if not shown:
        return f"No page {page}: there are {total:,} in all. The same with --page 1 shows the first."
    more = f"; for the next page: the same with --page {page + 1}" if skip + shown < total else ""
    return f"{skip + 1:,} to {skip + shown:,} of {total:,}{more}"


async def _show(text: str, *, raw: bool, version: int | None, as_json: bool) -> None:
    async with open_letters(load_settings()) as store:
        view = await LetterViews(dead_letters=store.dead_letters, repository=store.shipments, edits=store.edits).of(
            await store.full_id(text)
        )
        if view is None:
            raise click.ClickException(f"the dead letter {text!r} was deleted just now")
        body = view.letter.body
        if version is not None:
            body = await LetterVersions(store.edits).body(view.letter, version)
    if raw:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    elif as_json:
        print_json(view_document(view))
    else:
        print_letter(views.console(), view, datetime.now(UTC))


async def _hours(selection: Selection, *, as_json: bool) -> None:
    async with open_letters(load_settings()) as store:
        found = await store.dead_letters.hours(selection)
    if as_json:
        print_json({"hours": found})
        return
    out = views.console()
    if found:
        out.print(views.hours_table(found))
    out.print(Text(f"{counted(sum(hour.count for hour in found), 'dead letter')} in {counted(len(found), 'hour')}"))


def _print_names(names: Iterable[str]) -> None:
    click.echo("".join(f"{name}\n" for name in names), nl=False)


def _not_both(*, quiet: bool, as_json: bool) -> None:
    if quiet and as_json:
        raise click.UsageError("--quiet and --json exclude each other")


async def _groups(selection: Selection, *, quiet: bool, as_json: bool) -> None:
    async with open_letters(load_settings()) as store:
        found = await store.dead_letters.groups(selection)
        if quiet:
            _print_names(group.fingerprint for group in found)
            return
        if as_json:
            print_json({"groups": found})
            return
        out = views.console()
        wide = views.is_wide(out)
        ids = await _written_ids(store, [group.example_id for group in found], whole=wide)
    if found:
        out.print(views.groups_table(found, ids, datetime.now(UTC), wide=wide))
    out.print(Text(_how_many(found)))


def _how_many(found: Sequence[DeadLetterGroup]) -> str:
    if not found:
        return "No dead letters match."
    return f"{counted(sum(group.count for group in found), 'dead letter')} in {counted(len(found), 'group')}"


async def _written_ids(store: Letters, ids: list[str], *, whole: bool) -> dict[str, str]:
    """Return how to write each id: whole, or as its shortest beginning that no other letter's id shares."""
    if whole:
        return {letter_id: letter_id for letter_id in ids}
    alike = await store.dead_letters.ids_starting_with([letter_id[:8] for letter_id in ids], limit=_MAX_LIMIT)
    return shortened(ids, alike)
