"""Lines of a file for the event loop: read in a thread, a few at a time, none of them longer than it may be."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Generic, TypeVar

T = TypeVar("T")

_SKIP_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class OverlongLine:
    """Stands for a line that is longer than allowed and was not kept."""

    limit: int
    """Bytes."""


class LineSource:
    """The lines of a binary file without their line ends (`\\n` or `\\r\\n`), read as they are asked for.

    No more than `max_bytes` of a line are ever in memory; a longer line comes out as an OverlongLine.
    """

    def __init__(self, file: BinaryIO, *, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.bytes_read = 0

    def __iter__(self) -> Iterator[bytes | OverlongLine]:
        while piece := self._read(self._max_bytes + len(b"\r\n")):
            line = piece.removesuffix(b"\n").removesuffix(b"\r")
            if len(line) <= self._max_bytes:
                yield line
                continue
            while piece and not piece.endswith(b"\n"):
                piece = self._read(_SKIP_PIECE)
            yield OverlongLine(self._max_bytes)

    def _read(self, limit: int) -> bytes:
        piece = self._file.readline(limit)
        self.bytes_read += len(piece)
        return piece


async def read_ahead(items: Iterable[T], *, ahead: int) -> AsyncGenerator[T, None]:
    """Yield what a thread takes from `items`: each as soon as it is there, at most `ahead` of them waiting.

    So a slow source (a pipe, a person typing) never holds up the event loop. What `items` raises comes out here. The
    thread may stay behind in a read that never returns; it does not keep the process alive.
    """
    shelf: _Shelf[T] = _Shelf(ahead, asyncio.get_running_loop())
    threading.Thread(target=shelf.fill, args=(items,), name="read ahead", daemon=True).start()
    try:
        while batch := await shelf.take():
            for item in batch:
                yield item
    finally:
        shelf.abandon()


class _Shelf(Generic[T]):
    """Where the thread lays items down and the event loop takes all that lie there: one wake-up for many."""

    def __init__(self, room: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._room = threading.Semaphore(room)
        self._abandoned = False
        self._items: list[T] = []
        self._taken = 0
        self._ended = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def fill(self, items: Iterable[T]) -> None:
        """Lay down one item after the other; runs in the thread."""
        try:
            for item in items:
                self._room.acquire()
                if self._abandoned:
                    return
                with self._lock:
                    self._items.append(item)
                    is_first = len(self._items) == 1
                if is_first:
                    self._wake()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised in the event loop
            self._error = error
        self._ended = True
        self._wake()

    async def take(self) -> list[T]:
        """Return all items that are there, at least one; none at the end. Raises what reading them raised."""
        self._make_room()
        while True:
            self._changed.clear()
            ended = self._ended  # looked at before the items: what was laid down before the end is not missed
            with self._lock:
                items, self._items = self._items, []
            self._taken = len(items)
            if items or ended:
                break
            await self._changed.wait()
        if not items and self._error is not None:
            raise self._error
        return items

    def abandon(self) -> None:
        """Let the thread end at its next item."""
        self._abandoned = True
        self._taken += 1
        self._make_room()

    def _make_room(self) -> None:
        if self._taken:
            self._room.release(self._taken)
        self._taken = 0

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._changed.set)
