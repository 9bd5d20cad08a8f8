"""Headers that fit: a message's headers travel in one frame, and one that does not fit costs the connection."""

import struct
from typing import cast

from aio_pika.abc import HeadersType

from infra.rabbitmq.header_values import encoded_table
from worker.domain.delivery import PUBLISHED_AT, is_foreign
from worker.domain.log import StructuredLogger

_MAX_BYTES = 115_000
"""Of the 131,072 bytes of a frame. The other properties need 2,000 at most; the broker adds notes of its own."""
_EMPTY = len(encoded_table({}))

_log = StructuredLogger("logistics.publisher")


def fitting_headers(headers: dict[str, object]) -> HeadersType:
    """Return the headers, without those that cannot be sent, and without a publisher's largest as long as all are too
    large together. What is left out is logged by name.
    """
    whole = _size(headers)
    if whole is not None and whole <= _MAX_BYTES:
        return cast("HeadersType", headers)
    dropped = _left_behind(headers)
    _log.warning("headers.dropped", names=[name[:100] for name in sorted(dropped)])
    return cast("HeadersType", {name: value for name, value in headers.items() if name not in dropped})


def _left_behind(headers: dict[str, object]) -> set[str]:
    """Return the names of headers that cannot be sent, and of a publisher's that there is no room for.

    Ours are bounded, and there is always room for them and for the moment of the publish, which the worker reads.
    """
    sizes = {name: size for name, value in headers.items() if (size := _size({name: value})) is not None}
    dropped = headers.keys() - sizes.keys()
    total = sum(sizes.values())
    theirs = [name for name in sizes if is_foreign(name) and name != PUBLISHED_AT]
    for name in sorted(theirs, key=sizes.__getitem__, reverse=True):
        if total <= _MAX_BYTES:
            break
        dropped.add(name)
        total -= sizes[name]
    return dropped


def _size(headers: dict[str, object]) -> int | None:
    """Return the bytes that these headers add to a table, None when one of them cannot be encoded."""
    try:
        return len(encoded_table(headers)) - _EMPTY
    except (TypeError, ValueError, ArithmeticError, struct.error):
        return None
