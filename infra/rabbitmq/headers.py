"""Headers that fit: a message's headers travel in one frame, and one that does not fit costs the connection."""

import struct
from typing import cast

from aio_pika.abc import HeadersType
from pamqp import encode

from infra.rabbitmq.header_values import write_exactly
from worker.domain.log import StructuredLogger

_MAX_BYTES = 100_000  # of the 131,072 bytes of a frame; the rest is for the other properties
_SMALL = 256
_MAX_DEPTH = 100  # the client writes tables by recursion: what fits here would not, a few calls further down

_TOO_DEEP = object()

write_exactly()

_log = StructuredLogger("logistics.publisher")


def fitting_headers(headers: dict[str, object]) -> HeadersType:
    """Return the headers, without those that cannot be sent, and without the largest as long as all are too large.

    Only a publisher's own headers can be that large; ours are bounded. What is left out is logged by name.
    """
    headers = {name: _sendable(value) for name, value in headers.items()}
    sizes = {name: _size(name, value) for name, value in headers.items()}
    dropped = [name for name, size in sizes.items() if size is None]
    total = sum(size for size in sizes.values() if size is not None)
    for name, size in sorted(sizes.items(), key=lambda item: -(item[1] or 0)):
        if total <= _MAX_BYTES or not size or size <= _SMALL:
            break
        dropped.append(name)
        total -= size
    if not dropped:
        return cast("HeadersType", headers)
    _log.warning("headers.dropped", names=[name[:100] for name in dropped])
    return cast("HeadersType", {name: value for name, value in headers.items() if name not in dropped})


def _sendable(value: object, *, depth: int = 0) -> object:
    """Return the value as the client can send it: what it read as bytes it only writes as a bytearray.

    In the place of tables too deep stands what cannot be encoded.
    """
    if depth > _MAX_DEPTH:
        return _TOO_DEEP
    match value:
        case bytes():
            return bytearray(value)
        case list():
            return [_sendable(item, depth=depth + 1) for item in value]
        case dict():
            return {name: _sendable(item, depth=depth + 1) for name, item in value.items()}
    return value


def _size(name: str, value: object) -> int | None:
    """Return a header's size on the wire, None when it cannot be encoded."""
    if isinstance(value, int | bool):
        return len(name) + 10 if -(2**63) <= value < 2**63 else None
    if isinstance(value, str):
        return len(name) + 6 + (len(value) if value.isascii() else 4 * len(value))
    try:
        return len(encode.field_table({name: value}))  # type: ignore[dict-item] # whatever it is, it is tried
    except (TypeError, ValueError, ArithmeticError, RecursionError, struct.error):
        return None
