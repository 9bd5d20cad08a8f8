"""A message body as lines of text: to read, to compare and to edit."""

import difflib
import json
import re
from collections.abc import Sequence

_MAX_PRETTY_BYTES = 64 * 1024
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_OPENING = {"{", "["}


def laid_out(body: bytes, *, max_bytes: int = _MAX_PRETTY_BYTES) -> list[str] | None:
    """Return the lines of a JSON document, None when it is none, or larger than that.

    Only white space is changed: parsing and writing it anew would hide a key that is there twice, or the digits of a
    number, which may be the very thing that is wrong with it.
    """
    if len(body) > max_bytes:
        return None
    try:
        text = body.decode("utf-8")
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _indented(_JSON_TOKEN.findall(text))


def difference(before: bytes, after: bytes) -> list[str]:
    """Return what changed as a unified diff, laid out; empty when at most white space did.

    The lines may hold anything that the bodies hold; what is not UTF-8 is written as escape sequences.
    """
    return list(difflib.unified_diff(_lines(before), _lines(after), "before", "after", lineterm=""))


def _lines(body: bytes) -> Sequence[str]:
    pretty = laid_out(body)
    return body.decode("utf-8", "backslashreplace").splitlines() if pretty is None else pretty


def _indented(tokens: list[str]) -> list[str]:
    lines, depth, previous = [""], 0, ""
    for part in tokens:
        closes = part in {"}", "]"}
        depth -= closes
        if previous == "," or (closes and previous not in _OPENING) or (previous in _OPENING and not closes):
            lines.append("  " * depth)
        lines[-1] += f"{part} " if part == ":" else part
        depth += part in _OPENING
        previous = part
    return lines
