"""A message body as a JSON object, read strictly, and what is said of one that is none."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from worker.domain.errors import MalformedMessageError

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
"""At least one visible character, and no control character (they break logs, HTTP headers and labels)."""

_MAX_PROBLEMS = 5
_WORDS = {"string_pattern_mismatch": "needs a visible character, and no control characters"}
"""What we say instead of pydantic, by its error type."""


def read_object(body: bytes, *, max_bytes: int, malformed: type[MalformedMessageError]) -> dict[str, Any]:
    """Return the JSON object in a message body.

    Stricter than JSON asks for where leniency would hide a mistake: UTF-8 without a byte order mark, no key twice
    in an object (which of the two would count?), no NaN.

    Raises `malformed` with a sentence for the publisher; it never repeats the body's content.
    """
    if len(body) > max_bytes:
        raise malformed(f"the body has {len(body)} bytes; at most {max_bytes} are accepted")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8 (byte {error.start})") from None
    if text.startswith("\ufeff"):
        raise malformed("the body starts with a byte order mark; send UTF-8 without one")
    try:
        document = _DECODER.decode(text)
    except RecursionError:
        raise malformed("the body is nested too deeply") from None
    except ValueError as error:
        raise malformed(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise malformed("the body is JSON but not an object")
    return document


def problems_in_words(error: ValidationError, *, words: Mapping[str, str] | None = None) -> str:
    """Return what pydantic found wrong, as `field: problem; field: problem`, without the body's content.

    `words`: what to say of a field instead of pydantic, by the field's name.
    """
    return "; ".join(
        _in_words(problem, words or {})
        for problem in error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_PROBLEMS]
    )


def _in_words(problem: Mapping[str, Any], words: Mapping[str, str]) -> str:
    field = ".".join(map(str, problem["loc"])) or "body"
    if problem["type"] != "missing" and field in words:
        return f"{field}: {words[field]}"
    return f"{field}: {_WORDS.get(problem['type'], problem['msg'])}"


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key appears twice in the same object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)
