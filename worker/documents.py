"""Documents for programs: what `--json` prints and what the console's API answers."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any


def json_text(document: object, *, indent: int | None = None) -> str:
    """Return a document as JSON, in ASCII: a terminal shows it without being moved by it."""
    return json.dumps(jsonable(document), indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


def jsonable(value: object) -> Any:
    """Return a value as JSON can hold it: times in ISO format (UTC), bytes as `{"base64": …}`."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable({item.name: getattr(value, item.name) for item in fields(value)})
    return str(value)
