"""What every command writes: JSON for programs, and text in which nothing moves a terminal's cursor."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from worker.documents import json_text


def print_json(document: object) -> None:
    """Write one JSON document to standard output."""
    click.echo(json_text(document, indent=2))


def plain(value: object) -> str:
    """Return a value as one line of text in which every control or invisible character is an escape sequence."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@contextmanager
def target(output: Path | None) -> Iterator[BinaryIO]:
    """Yield the file to write to, standard output when none is named.

    A named one appears when it is complete, so that half of it looks like none.
    """
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(output)
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
