"""Properties as they came: the client writes numbers and times with less than it read.

It reads a double and writes a single: a publisher's 0.1 would come back from a delay queue as 0.10000000149, and 1e300
could not be sent at all. It reads a time in milliseconds, and writes whole seconds, which past the year 2106 it would
read as milliseconds of 1970. It cuts names short after 128 bytes, and writes no bytes that it read. So headers and
timestamp of what goes out are written here.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from struct import Struct

from aio_pika import Message
from pamqp import encode
from pamqp.commands import Basic

_MAX_DEPTH = 100
"""Levels of tables and lists in a value: they are written by recursion, and further down the stack than measured."""

_MILLISECONDS_FROM = 2**32
"""From this number on the client takes a time for milliseconds."""
_LENGTH = Struct(">I")
_UNSIGNED = Struct(">Q")


class ExactMessage(Message):
    """A message whose headers and timestamp arrive with the values they were given.

    Bytes arrive as a byte array, also those that were read of a text that is not UTF-8.
    """

    @property
    def properties(self) -> Basic.Properties:
        """What the client sends with the body."""
        return _ExactProperties(**dict(super().properties))  # type: ignore[arg-type] # they are pairs of any kind


class _ExactProperties(Basic.Properties):
    def encode_property(self, name: str, value: object) -> bytes:
        match name, value:
            case "headers", dict():
                return encoded_table(value)
            case "timestamp", datetime():
                return _moment(value)
        return super().encode_property(name, value)  # type: ignore[arg-type] # whatever it was given


def encoded_table(table: Mapping[str, object]) -> bytes:
    """Return a header table as it goes over the wire: its length, then name and value of each header.

    Raises TypeError, ValueError, ArithmeticError or struct.error for what AMQP or RabbitMQ has no room for, and for
    tables and lists more than a hundred levels deep.
    """
    return _table(table, 0)


def _table(table: Mapping[str, object], depth: int) -> bytes:
    return _sized(b"".join([encode.short_string(name) + _encoded(value, depth) for name, value in table.items()]))


def _encoded(value: object, depth: int) -> bytes:
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} levels of tables and lists")
    match value:
        case dict():
            return b"F" + _table(value, depth + 1)
        case list():
            return b"A" + _sized(b"".join([_encoded(item, depth + 1) for item in value]))
        case float():
            if not math.isfinite(value):
                raise ValueError(f"RabbitMQ closes a connection on which it reads {value}")
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
    return _UNSIGNED.pack(int(seconds))


def _sized(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data
