"""Header values as they came: the client writes numbers and times with less than it read.

It reads a double and writes a single: a publisher's 0.1 would come back from a delay queue as 0.10000000149, and 1e300
could not be sent at all. It reads a time in milliseconds, and writes whole seconds, which past the year 2106 it would
read as milliseconds of 1970. It cuts names short after 128 bytes, and writes no bytes that it read. So the header table
of what goes out is written here.
"""

from collections.abc import Mapping
from datetime import datetime
from struct import Struct

from aio_pika import Message
from pamqp import encode
from pamqp.commands import Basic

MAX_DEPTH = 100
"""Levels of tables and lists in a value: they are written by recursion, and further down the stack than measured."""

_MILLISECONDS_FROM = 2**32
"""From this number on the client takes a time for milliseconds."""
_LENGTH = Struct(">I")
_UNSIGNED = Struct(">Q")


class ExactMessage(Message):
    """A message whose headers arrive with the values they were given."""

    @property
    def properties(self) -> Basic.Properties:
        """What the client sends with the body."""
        return _ExactProperties(**dict(super().properties))  # type: ignore[arg-type] # they are pairs of any kind


class _ExactProperties(Basic.Properties):
    def encode_property(self, name: str, value: object) -> bytes:
        if name == "headers" and isinstance(value, dict):
            return encoded_table(value)
        return super().encode_property(name, value)  # type: ignore[arg-type] # whatever it was given


def encoded_table(table: Mapping[str, object], *, depth: int = 0) -> bytes:
    """Return a header table as it goes over the wire. `depth`: how many tables and lists it is in.

    Raises TypeError, ValueError, ArithmeticError or struct.error for what AMQP has no room for, and for tables more
    than MAX_DEPTH levels deep.
    """
    return _sized(b"".join([encode.short_string(name) + _encoded(value, depth) for name, value in table.items()]))


def _encoded(value: object, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels of tables and lists")
    match value:
        case dict():
            return b"F" + encoded_table(value, depth=depth + 1)
        case list():
            return b"A" + _sized(b"".join([_encoded(item, depth + 1) for item in value]))
        case float():
            return b"d" + encode.double(value)
        case bytes():
            return b"x" + _sized(value)
        case datetime():
            return b"T" + _moment(value)
    return encode.encode_table_value(value)  # type: ignore[arg-type] # it raises TypeError for what it does not know


def _moment(value: datetime) -> bytes:
    seconds = value.timestamp()
    if seconds >= _MILLISECONDS_FROM or value.microsecond:
        milliseconds = round(seconds * 1000)
        if milliseconds >= _MILLISECONDS_FROM:
            return _UNSIGNED.pack(milliseconds)
    return encode.timestamp(value)


def _sized(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data
