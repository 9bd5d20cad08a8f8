"""Where an edited body comes from: a file, `--set`, or the operator's editor."""

import os
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import click

from worker.domain.body_fields import field_value, with_fields
from worker.domain.body_text import laid_out
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.edit import check_header
from worker.domain.errors import EditRefusedError


def read_fields(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Return what each `--set` sets."""
    return {name: field_value(value) for name, value in (_pair(text) for text in given)}


def read_headers(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str | None]:
    """Return what each `--header` sets; None drops it. Raises click.BadParameter for a locked one."""
    headers = {name: value or None for name, value in (_pair(text) for text in given)}
    try:
        for name, value in headers.items():
            check_header(name, value)
    except EditRefusedError as error:
        raise click.BadParameter(str(error)) from None
    return headers


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"write it as name=value, not {text!r}")
    return name, value


def new_body(
    letter: DeadLetterRecord, file: BinaryIO | None, fields: Mapping[str, Any], *, needs_editor: bool
) -> bytes | None:
    """Return the new body, None when it stays."""
    if file is not None:
        return file.read()
    if fields:
        return with_fields(letter.body, fields)
    return _from_editor(letter.body) if needs_editor else None


def _from_editor(body: bytes) -> bytes | None:
    """Return the body as the operator's editor leaves it, None when it was left as it was."""
    if not sys.stdin.isatty() and not (os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        raise click.UsageError("say what to change: --set or --file; there is no terminal for an editor")
    pretty = laid_out(body)
    try:
        text = "\n".join(pretty) if pretty is not None else body.decode("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError("the body is not UTF-8, which no editor keeps as it is: give it with --file") from None
    edited = click.edit(text, extension=".json" if pretty is not None else ".txt")
    if edited is None or edited.strip() == text.strip():
        return None
    return edited.encode("utf-8", "surrogateescape")
