"""One worker process, as the supervisor that started it sees it."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.local.spawn import leashed
from infra.telemetry.process_pages import Page, ProcessPages
from worker.domain.log import StructuredLogger

_HUNG_AFTER = 30.0
_LOOK_EVERY = 5.0
_LOOK_FOR_READY_EVERY = 0.25

_log = StructuredLogger("logistics.supervisor")


class ChildProcess:
    """A process that was started: how long it has lived, what it answers, its end."""

    def __init__(self, number: int, process: Process, pages: ProcessPages) -> None:
        self._number = number
        self._process = process
        self._pages = pages
        self._started = self._answered = time.monotonic()
        self._has_answered = False

    @classmethod
    async def start(
        cls, number: int, arguments: Sequence[str], environment: Mapping[str, str], pages: ProcessPages
    ) -> "ChildProcess":
        """Start `logistics worker` with these arguments, its health where `pages` asks. Raises OSError.

        It gets a session of its own: Ctrl-C in a terminal reaches the supervisor alone, which hands it on. It runs in
        this process' folder, a removed one, too, and imports no module from there.
        """
        command = leashed([sys.executable, "-P", "-m", "worker", "worker", *arguments], folder=Path(os.curdir))
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**environment, "LOGISTICS_HEALTH_ADDR": pages.address},
            stdin=DEVNULL,
            start_new_session=True,
        )
        _log.info("process.started", number=number, child=process.pid)
        return cls(number, process, pages)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def is_starting(self) -> bool:
        """Whether it cannot be expected to answer yet."""
        return not self._has_answered and self.lived < _HUNG_AFTER

    @property
    def lived(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    async def ended(self) -> int:
        """Return its exit code when it has ended; a signal that killed it as a negative number."""
        return await self._process.wait()

    async def get(self, path: str) -> Page | None:
        """Return one of its pages, None when it does not answer."""
        page = await self._pages.get(path) if self.is_running else None
        if page is not None:
            self._answered, self._has_answered = time.monotonic(), True
        return page

    async def watch(self, begun: asyncio.Event, *, hung_after: float = _HUNG_AFTER) -> None:
        """Set `begun` when it is ready; kill it when it has not answered for so many seconds. Runs until cancelled."""
        while True:
            page = await self.get("/livez" if begun.is_set() else "/readyz")
            if page is not None and page.is_fine:
                begun.set()
            if self.is_running and time.monotonic() - self._answered > hung_after:
                _log.error("process.hung", number=self._number, child=self._process.pid, seconds=hung_after)
                self._process.kill()
            await asyncio.sleep(_LOOK_EVERY if begun.is_set() else _LOOK_FOR_READY_EVERY)

    async def drain(self, deadline: float, *, to_close: float = 10.0) -> None:
        """Ask it to end; kill it some seconds (`to_close`) after the deadline that it has itself."""
        if not self.is_running:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(deadline + to_close):
                await self._process.wait()
        except TimeoutError:
            _log.warning("process.killed", number=self._number, child=self._process.pid, why="it did not drain in time")
            self._process.kill()


def in_words(code: int) -> str:
    """Return how a process ended."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
