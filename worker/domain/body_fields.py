"""Changing single fields of a JSON body, with every other value kept as it is written."""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from worker.domain.errors import EditRefusedError


def field_value(text: str) -> Any:
    """Return what `--set field=text` means: the JSON value, where the text is one, else the text itself."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def with_fields(body: bytes, fields: Mapping[str, Any]) -> bytes:
    """Return the JSON object with these fields set; a dotted path names a field within fields (`address.city`).

    The body itself, byte for byte, when they have these values already. Numbers keep their digits, objects on the way
    to a new field are made. Raises EditRefusedError when the body is no JSON object, has a key twice, or a path leads
    through something that is no object.
    """
    token = uuid.uuid4().hex

    def digits(text: str) -> str:
        return f"{token}{text}"

    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_float=digits)
    except (ValueError, RecursionError) as error:
        raise EditRefusedError(f"no field can be set, the body is not JSON ({error}): give it whole") from None
    if not isinstance(document, dict):
        raise EditRefusedError("no field can be set, the body is JSON but not an object: give it whole")
    before = json.dumps(document)
    for path, value in fields.items():
        _set(document, path, value)
    if json.dumps(document) == before:
        return body  # byte for byte: nothing was changed
    try:
        text = json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # half a character, which JSON has only as an escape
        text = json.dumps(document).encode("ascii")
    return re.sub(f'"{token}([^"]*)"'.encode("ascii"), rb"\1", text)


def _set(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    place = document
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise EditRefusedError(f"{path!r} cannot be set: {parent!r} is no object")
        place = inner
    place[name] = value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key appears twice in the same object")
    return document


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
