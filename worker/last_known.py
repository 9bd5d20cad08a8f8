"""What one server said last, and why it says nothing now."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Generic, TypeVar

from worker.background import end
from worker.domain.log import StructuredLogger

T = TypeVar("T")

_log = StructuredLogger("logistics.feed")


class LastKnown(Generic[T]):
    """Asks a server again and again, one question at a time, and keeps its last answer while there is none."""

    def __init__(
        self, server: str, ask: Callable[[], Coroutine[Any, Any, T | str]], *, clock: Callable[[], datetime]
    ) -> None:
        """`ask` returns the answer, or why there is none."""
        self.server = server
        self.known: T | None = None
        self.known_at: datetime | None = None
        """When it was asked for that."""
        self._ask = ask
        self._clock = clock
        self._why_not: str | None = f"{server} has not answered yet"
        self._asking: asyncio.Task[None] | None = None

    @property
    def answers(self) -> bool:
        """Whether the last question was answered."""
        return self._why_not is None

    @property
    def shown(self) -> T | str:
        """What was last known; why nothing is, if nothing ever was."""
        return self._why_not or "" if self.known is None else self.known

    async def look(self, *, patience: float) -> None:
        """Ask, unless an earlier question is still open; return when it is answered, or after so many seconds."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._look())
        await asyncio.wait([self._asking], timeout=patience)

    async def stop(self) -> None:
        """Ask no further."""
        if self._asking is not None:
            await end([self._asking])

    @property
    def words(self) -> tuple[str | datetime, ...]:
        """Why there is no answer, and since when what was last known is shown."""
        why_not = self._why_not or ""
        if self.known_at is None:
            return (why_not,)
        _, _, short = why_not.partition(": ")
        known = f": showing what was last known ({short or why_not})"
        return f"{self.server} not reachable since ", self.known_at, known

    async def _look(self) -> None:
        asked_at = self._clock()
        try:
            answer = await self._ask()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a server must be told, not end the telling
            answer = f"{self.server} cannot be asked: {type(error).__name__}"
            if answer != self._why_not:
                _log.error("feed.failed", server=self.server, exc_info=error)
        if isinstance(answer, str):
            self._why_not = answer
        else:
            self.known, self.known_at, self._why_not = answer, asked_at, None
