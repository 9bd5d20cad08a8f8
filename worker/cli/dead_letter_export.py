"""`logistics dead-letters export`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

import click

from worker.cli.dead_letter_filters import selecting
from worker.cli.dead_letter_progress import progress
from worker.cli.dead_letter_store import open_letters
from worker.cli.output import target
from worker.documents import json_text
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterState, Selection
from worker.exporting import whole_letters
from worker.letter_documents import whole_document
from worker.settings import load_settings


@click.command("export")
@selecting(default_state=DeadLetterState.OPEN)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, whole or not at all, instead of standard output.",
)
def export(*, selection: Selection, output: Path | None) -> None:
    """Write dead letters as JSON Lines, newest first: one JSON document a line, everything that is known.

    The body is `body_base64`, byte for byte, and `body_text` where it is UTF-8.

    \b
    Examples:
      logistics dead-letters export --output dead-letters.jsonl
      logistics dead-letters export --since 1d --state all | gzip > day.jsonl.gz
      logistics dead-letters export --reason malformed | jq -r .error_message | sort | uniq -c
    """
    count = asyncio.run(_export(selection, output))
    click.echo(f"{count:,} dead letters exported{f' to {output}' if output is not None else ''}", err=True)


async def _export(selection: Selection, output: Path | None) -> int:
    async with open_letters(load_settings()) as store:
        total = await store.dead_letters.count(selection)
        with target(output) as file, progress("exported", total) as one_done:
            return await _write(file, whole_letters(store.dead_letters, selection), one_done)


async def _write(file: BinaryIO, letters: AsyncIterator[DeadLetterRecord], one_done: Callable[[], None]) -> int:
    count = 0
    async for letter in letters:
        file.write(f"{json_text(whole_document(letter))}\n".encode("ascii"))
        count += 1
        one_done()
    return count
