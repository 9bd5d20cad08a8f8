"""How single settings are written: durations, addresses."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from worker.domain.durations import parse_duration

T = TypeVar("T")


def _to_seconds(value: object) -> object:
    return without_value(parse_duration, value) if isinstance(value, str) else value


def without_value(parse: Callable[[str], T], text: str) -> T:
    """Return what the text says; a complaint about it does not repeat it, as a secret may be in the wrong variable."""
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(str(error).replace(repr(text), "the value")) from None


def _is_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("write it as host:port, such as 127.0.0.1:8080")
    return value


Seconds = Annotated[float, BeforeValidator(_to_seconds), Field(gt=0, le=30 * 86400)]
LongSeconds = Annotated[float, BeforeValidator(_to_seconds), Field(gt=0, le=3650 * 86400)]
Address = Annotated[str, AfterValidator(_is_address)]
