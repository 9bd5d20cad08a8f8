"""Paced reading: a consumer's connection is not read further while the bodies in hand are too many bytes.

A prefetch counts messages, not bytes: five hundred dead letters may be a megabyte or eight gigabytes, and the broker
sends them all. What is not read stays in the broker, by TCP's own back-pressure. Small messages never come near it.
"""

import asyncio
import gc

from aiormq.connection import TransportFactory
from yarl import URL

MOST_BYTES = 32 * 1024 * 1024
"""Bytes of bodies in hand from which on no further delivery is read. One more may be on its way already."""
_LONGEST_WAIT = 10.0
"""Seconds after which is read on all the same: longer, and the connection would miss its heartbeats."""
_LEAST_BYTES = 1024 * 1024
"""Bytes that are read on then. One small delivery alone would be too little: the kernel tells the broker of room only
when there is a good deal of it, and a broker that gets rid of nothing for 30 s resets the connection (measured)."""
_LARGE = 256 * 1024
_DELIVER = b"\x00\x3c\x00\x3c"


class BytesInHand:
    """The bytes of the bodies one subscriber has in hand."""

    def __init__(
        self, most: int = MOST_BYTES, *, longest_wait: float = _LONGEST_WAIT, read_on: int = _LEAST_BYTES
    ) -> None:
        """`longest_wait`: seconds without room after which `read_on` bytes are read all the same."""
        self.read_on = read_on
        self._most = most
        self._longest_wait = longest_wait
        self._bytes = 0
        self._let_go = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def is_full(self) -> bool:
        """Whether nothing more is read for now, the broker's answers included: they come in line with deliveries."""
        return not self._room.is_set()

    def take(self, size: int) -> None:
        """Count a body that has come."""
        self._bytes += size
        if self._bytes >= self._most:
            self._room.clear()

    def let_go(self, size: int) -> None:
        """Count a body no longer that is done with."""
        self._bytes -= size
        self._let_go += size if size >= _LARGE else 0
        if self._let_go >= self._most:
            # Bodies are part of reference cycles, and cyclic garbage is looked for by the number of objects: two
            # hundred bodies of 16 MB are few objects.
            gc.collect()
            self._let_go = 0
        if self._bytes < self._most:
            self._room.set()

    async def has_room(self) -> bool:
        """Return True when there is room for another body, False when there is none after a while."""
        if not self._room.is_set():
            try:
                async with asyncio.timeout(self._longest_wait):
                    await self._room.wait()
            except TimeoutError:
                return False
        return True


class PacedTransport(TransportFactory):
    """Opens connections, by way of another factory, that are read as long as there is room."""

    def __init__(self, inner: TransportFactory, in_hand: BytesInHand) -> None:
        self._inner = inner
        self._in_hand = in_hand

    async def create(self, url: URL, **kwargs: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the connection, with a reader between it and the broker."""
        reader, writer = await self._inner.create(url, **kwargs)
        return _PacedReader(reader, self._in_hand), writer


class _PacedReader(asyncio.StreamReader):
    """Hands out what another reader has; a delivery only when there is room for it."""

    def __init__(self, inner: asyncio.StreamReader, in_hand: BytesInHand) -> None:
        super().__init__()
        self._inner = inner
        self._in_hand = in_hand
        self._read_on = 0

    def at_eof(self) -> bool:
        return self._inner.at_eof()

    async def readexactly(self, n: int) -> bytes:
        data = await self._inner.readexactly(n)
        self._read_on = max(self._read_on - n, 0)
        # A body may begin like a delivery, too, and then waits for room as well.
        if data[:4] == _DELIVER and not self._read_on and not await self._in_hand.has_room():
            self._read_on = self._in_hand.read_on
        return data
