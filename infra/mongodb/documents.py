"""From domain values to BSON and back."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from worker.domain.dead_letter import LetterEvent
from worker.domain.shipment import HistoryEvent

_EVENT_FIELDS = tuple(HistoryEvent.__dataclass_fields__)
_EVENT_NAMES = frozenset(_EVENT_FIELDS)
_LETTER_EVENT_FIELDS = tuple(LetterEvent.__dataclass_fields__)
_AS_IT_IS = (bool, float, bytes, datetime)
_INT64 = 2**63
_MAX_DEPTH = 20
_REFERENCE = "$ref"
_ESCAPED_REFERENCE = "\uff04ref"


def event_document(event: HistoryEvent) -> dict[str, Any]:
    """Return a history event without its empty fields."""
    return {name: value for name in _EVENT_FIELDS if (value := getattr(event, name)) is not None}


def letter_event_document(event: LetterEvent) -> dict[str, Any]:
    """Return a dead letter's event without its empty fields."""
    return {name: value for name in _LETTER_EVENT_FIELDS if (value := getattr(event, name)) is not None}


def event_from(document: Mapping[str, Any]) -> HistoryEvent:
    """Return the history event of a document."""
    if document.keys() <= _EVENT_NAMES:
        return HistoryEvent(**document)
    return HistoryEvent(**{name: value for name, value in document.items() if name in _EVENT_NAMES})


def letter_event_from(document: Mapping[str, Any]) -> LetterEvent:
    """Return the dead letter's event of a document."""
    names = LetterEvent.__dataclass_fields__
    return LetterEvent(**{name: value for name, value in document.items() if name in names})


def safe_value(value: object, *, depth: int = 0) -> Any:
    """Return a header value as BSON can hold it, whatever a publisher put there.

    What BSON has no room for (a huge integer, a decimal, too deep a table) becomes text.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, _AS_IT_IS):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Decimal) or depth >= _MAX_DEPTH:
        return str(value)[:1000]
    if isinstance(value, Mapping):
        return {safe_key(str(key)): safe_value(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [safe_value(item, depth=depth + 1) for item in value]
    return str(value)[:1000]


def safe_key(key: str) -> str:
    """Return a field name as BSON can hold it: without NUL, and not `$ref`, which would come back as a DBRef."""
    if key == _REFERENCE:
        return _ESCAPED_REFERENCE
    if key.isascii() and key.isprintable():
        return key
    return key.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def original_value(value: object) -> Any:
    """Return what `safe_value` made of a header, with its escaped names as they were."""
    if isinstance(value, Mapping):
        names = ((_REFERENCE if key == _ESCAPED_REFERENCE else key, item) for key, item in value.items())
        return {name: original_value(item) for name, item in names}
    if isinstance(value, list):
        return [original_value(item) for item in value]
    return value
