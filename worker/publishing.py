"""Publishing orders line by line, many confirms in flight, and knowing at every moment what is confirmed."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from infra.rabbitmq.order_publisher import OrderMessage, PublishedOrder
from worker.domain.errors import LogisticsError, MalformedOrderError, PublishError
from worker.line_source import OverlongLine, read_ahead

DEFAULT_IN_FLIGHT = 200


class IOrderPublisher(Protocol):
    """Where the orders go; `infra.rabbitmq.order_publisher.OrderPublisher` is one."""

    def prepare(self, body: bytes) -> OrderMessage:
        """Check a body. Raises MalformedOrderError."""
        ...

    async def send(self, order: OrderMessage) -> PublishedOrder:
        """Return when the order is confirmed. Raises PublishError when it gives up."""
        ...


class Progress:
    """What has become of the lines so far; it changes while the publishing goes on."""

    def __init__(self, first_line: int) -> None:
        self.published = 0
        self.refused = 0
        self.stopped_by: LogisticsError | OSError | None = None
        """Why the lines were not read to their end: no confirm, a refused line with `strict`, an unreadable file."""
        self._next_line = first_line
        self._unconfirmed: set[int] = set()
        self._started = time.monotonic()

    @property
    def first_unsettled(self) -> int:
        """The first line that is neither confirmed nor refused nor empty: the one to resume from."""
        return min(self._unconfirmed, default=self._next_line)

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return time.monotonic() - self._started

    def summary(self) -> "Summary":
        """Return how things stand now."""
        return Summary(self.published, self.refused, self.seconds, self.first_unsettled, self.stopped_by)

    def stop(self, error: LogisticsError | OSError) -> None:
        """Note why it stops; the first reason counts."""
        self.stopped_by = self.stopped_by or error

    def reached(self, number: int) -> None:
        """Note that all lines before this one have been dealt with or are in flight."""
        self._next_line = number

    def sent(self, number: int) -> None:
        """Note a line in flight."""
        self._unconfirmed.add(number)
        self._next_line = number + 1

    def confirmed(self, number: int) -> None:
        """Note a line's confirm."""
        self._unconfirmed.discard(number)
        self.published += 1


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the lines."""

    published: int
    refused: int
    seconds: float
    first_unsettled: int
    stopped_by: LogisticsError | OSError | None

    @property
    def rate(self) -> float:
        """Orders confirmed in a second."""
        return self.published / self.seconds if self.seconds > 0 else 0.0


async def publish_lines(
    lines: Iterable[bytes | OverlongLine],
    publisher: IOrderPublisher,
    *,
    on_progress: Callable[[Progress], None],
    on_refused: Callable[[int, MalformedOrderError], None],
    in_flight: int = DEFAULT_IN_FLIGHT,
    strict: bool = False,
    first_line: int = 1,
    stop: asyncio.Event | None = None,
) -> Summary:
    """Publish each line as one order; return when all are confirmed or refused.

    Lines before `first_line` and empty ones are skipped. A line that is no order is told to `on_refused`, in the order
    of the lines, and the rest goes on; `strict` stops there. A publish that fails for good stops everything, as does
    `stop` when it is set: no more lines are taken, what is in flight finishes. `on_progress` is called at the start
    and after every line. When cancelled, what is in flight is dropped and may have arrived all the same. A thread reads
    `lines`; at most `in_flight` of them are in flight and as many again wait.
    """
    progress, stop = Progress(first_line), stop or asyncio.Event()
    run = _Run(publisher, progress, stop, strict=strict, room=in_flight, told=(on_progress, on_refused))
    on_progress(progress)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(run.read(_numbered(lines, first_line), ahead=in_flight, group=group))
        stopping = group.create_task(stop.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        stopping.cancel()
    return progress.summary()


def _numbered(lines: Iterable[bytes | OverlongLine], first_line: int) -> Iterator[tuple[int, bytes | OverlongLine]]:
    """Yield the lines to publish; it runs in the reading thread."""
    for number, line in enumerate(lines, start=1):
        if number >= first_line and (isinstance(line, OverlongLine) or line.strip()):
            yield number, line


class _Run:
    def __init__(
        self,
        publisher: IOrderPublisher,
        progress: Progress,
        stop: asyncio.Event,
        *,
        strict: bool,
        room: int,
        told: tuple[Callable[[Progress], None], Callable[[int, MalformedOrderError], None]],
    ) -> None:
        self._publisher, self._progress, self._stop, self._strict = publisher, progress, stop, strict
        self._on_progress, self._on_refused = told
        self._room = asyncio.Semaphore(room)

    async def read(
        self, lines: Iterable[tuple[int, bytes | OverlongLine]], *, ahead: int, group: asyncio.TaskGroup
    ) -> None:
        """Take the lines one by one, and start sending each as soon as there is room in flight."""
        try:
            async with aclosing(read_ahead(lines, ahead=ahead)) as feed:
                async for number, line in feed:
                    self._progress.reached(number)
                    order = self._accept(number, line)
                    if order is not None:
                        await self._room.acquire()
                    if self._stop.is_set() or (order is None and self._strict):
                        return
                    if order is not None:
                        self._progress.sent(number)
                        group.create_task(self._send(number, order))
        except OSError as error:
            self._progress.stop(error)

    def _accept(self, number: int, line: bytes | OverlongLine) -> OrderMessage | None:
        """Return the line's order; None when it was refused."""
        try:
            if not isinstance(line, OverlongLine):
                return self._publisher.prepare(line)
            self._refuse(number, MalformedOrderError(f"the line is longer than {line.limit} bytes"))
        except MalformedOrderError as error:
            self._refuse(number, error)
        return None

    def _refuse(self, number: int, error: MalformedOrderError) -> None:
        self._progress.refused += 1
        if self._strict:
            self._progress.stop(error)
        else:
            self._progress.reached(number + 1)
        self._on_refused(number, error)
        self._on_progress(self._progress)

    async def _send(self, number: int, order: OrderMessage) -> None:
        try:
            await self._publisher.send(order)
        except PublishError as error:
            self._progress.stop(error)
            self._stop.set()
        else:
            self._progress.confirmed(number)
            self._on_progress(self._progress)
        finally:
            self._room.release()
