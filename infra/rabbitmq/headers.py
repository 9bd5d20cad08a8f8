"""Headers that fit: a message's headers travel in one frame, and one that does not fit costs the connection."""

import struct
from typing import cast

from aio_pika.abc import HeadersType

from infra.rabbitmq.header_values import encoded_table
from worker.domain.delivery import is_foreign
from worker.domain.log import StructuredLogger

_MAX_BYTES = 100_000  # of the 131,072 bytes of a frame; the rest is for the other properties

_log = StructuredLogger("logistics.publisher")


def fitting_headers(headers: dict[str, object]) -> HeadersType:
    """Return the headers, without those that cannot be sent, and without a publisher's largest as long as all are too
    large together. What is left out is logged by name.
    """
    whole = _size(headers)
    if whole is not None and whole <= _MAX_BYTES:
        return cast("HeadersType", headers)
    dropped = _too_many(headers)
    _log.warning("headers.dropped", names=[name[:100] for name in sorted(dropped)])
    return cast("HeadersType", {name: value for name, value in headers.items() if name not in dropped})


def _too_many(headers: dict[str, object]) -> set[str]:
    """Return the names of the headers that must stay behind; ours are bounded, and always go along."""
    sizes = {name: size for name, value in headers.items() if (size := _size({name: value})) is not None}
    dropped = headers.keys() - sizes.keys()
    total = sum(sizes.values())
    for name in sorted(filter(is_foreign, sizes), key=sizes.__getitem__, reverse=True):
        if total <= _MAX_BYTES:
            break
        dropped.add(name)
        total -= sizes[name]
    return dropped


def _size(headers: dict[str, object]) -> int | None:
    """Return the size on the wire, None when one of them cannot be encoded."""
    try:
        return len(encoded_table(headers))
    except (TypeError, ValueError, ArithmeticError, struct.error):
        return None
