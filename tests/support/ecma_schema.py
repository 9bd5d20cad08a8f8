"""A JSON Schema validator whose patterns match as ECMA-262 does."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]


def validator(schema: dict[str, Any]) -> Any:
    """A validator of draft 2020-12."""
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})(schema)


def _pattern(_: Any, regex: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """JSON Schema asks for ECMA-262: there `$` is the very end, in Python's `re` it is not."""
    if isinstance(instance, str) and not re.search(regex.removesuffix("$") + r"\Z", instance):
        yield ValidationError(f"{instance!r} does not match {regex!r}")
