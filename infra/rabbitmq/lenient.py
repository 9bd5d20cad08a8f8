"""Reading messages whose properties the client library cannot decode.

A header name that is not UTF-8, a timestamp past the year 9999, or tables some five hundred levels deep make the
library drop the whole connection. The broker delivers the message again, and so on: one such message would stop a
queue. On a lenient connection it arrives with its body intact and its undecodable properties, as they are, in one
header.
"""

import asyncio
import struct

from aio_pika.exceptions import InvalidFrameError
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from pamqp import frame as amqp_frame
from pamqp.commands import Basic
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader
from yarl import URL

UNDECODABLE_HEADER = "undecodable_properties"

_HEAD = struct.Struct(">BHI")  # frame type, channel, size
_CONTENT_HEADER = 2
_DECODE_ERRORS = (PAMQPException, ValueError, OverflowError, RecursionError)
_BODY_SIZE = struct.Struct(">HHQ")  # class, weight, body size


class PlainTransport(TransportFactory):
    """Opens connections as the library would by itself."""

    async def create(self, url: URL, **kwargs: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the connection."""
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        return await factory.create(url, **kwargs)


class LenientTransport(TransportFactory):
    """Opens connections that let every message through."""

    async def create(self, url: URL, **kwargs: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the connection as the library would, with a reader between it and the broker."""
        reader, writer = await PlainTransport().create(url, **kwargs)
        return _LenientReader(reader), writer


class _LenientReader(asyncio.StreamReader):
    """Hands out the frames of another reader, replacing content headers that cannot be decoded."""

    def __init__(self, inner: asyncio.StreamReader) -> None:
        super().__init__()
        self._inner = inner
        self._frame = b""

    def at_eof(self) -> bool:
        return not self._frame and self._inner.at_eof()

    async def readexactly(self, n: int) -> bytes:
        if not self._frame:
            head = await self._inner.readexactly(_HEAD.size)
            kind, _, size = _HEAD.unpack(head)
            rest = await self._inner.readexactly(size + 1)
            self._frame = _decodable(head + rest) if kind == _CONTENT_HEADER else head + rest
        part, self._frame = self._frame[:n], self._frame[n:]
        return part


def is_decode_error(error: BaseException | None) -> bool:
    """Whether a connection ended because the library could not decode what it received."""
    return isinstance(error, (InvalidFrameError, *_DECODE_ERRORS))


def _decodable(frame: bytes) -> bytes:
    try:
        amqp_frame.unmarshal(frame)
    except (OSError, *_DECODE_ERRORS):
        _, channel, _ = _HEAD.unpack_from(frame)
        _, _, body_size = _BODY_SIZE.unpack_from(frame, _HEAD.size)
        properties = bytearray(frame[_HEAD.size + _BODY_SIZE.size : -1])
        header = ContentHeader(
            properties=Basic.Properties(headers={UNDECODABLE_HEADER: properties}, delivery_mode=2),
            body_size=body_size,
        )
        return amqp_frame.marshal(header, channel)
    return frame
