"""What every command writes: JSON for programs, and text in which nothing moves a terminal's cursor."""

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
