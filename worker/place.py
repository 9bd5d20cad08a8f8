"""A place in a supervisor: there is a worker process in it nearly always."""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence

from infra.local.ports import LOOPBACK
from infra.telemetry.merged_metrics import ProcessState
from infra.telemetry.process_pages import ProcessPages
from worker.back_off import LIVED_WELL, BackOff
from worker.background import first_of
from worker.child_process import ChildProcess, in_words
from worker.domain.log import StructuredLogger

TOO_MANY_ENDS = 5
"""Ends in a row, after which a process that keeps ending counts as not live."""

_log = StructuredLogger("logistics.supervisor")


class Place:
    """Keeps one worker process running, and knows how it is. `number` stays when the process changes."""

    def __init__(
        self, number: int, *, arguments: Sequence[str], environment: Mapping[str, str], back_off: BackOff
    ) -> None:
        """`arguments` and `environment`: of `logistics worker`; where its health answers is chosen here."""
        self.number = number
        self._back_off = back_off
        self._arguments = arguments
        self._environment = environment
        # Bound and never listened on: the port is the process', and nobody else is given it while there is none.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind((LOOPBACK, 0))
        self._pages = ProcessPages(f"{LOOPBACK}:{self._port.getsockname()[1]}")
        self._child: ChildProcess | None = None
        self._restarts = 0
        self._last_end = ""

    async def keep(self, *, stop: asyncio.Event, begun: asyncio.Event, drain_timeout: float) -> int:
        """Keep a process here until `stop`, then drain it. Returns its exit code, 0 when there is none.

        Sets `begun` when it is ready, or was killed. One that ends with an exit code before `begun` is set is not
        started again: it has said why it cannot work, and would say so again.
        """
        with self._port:
            while not stop.is_set():
                code = await self._one_life(stop, begun, drain_timeout)
                if stop.is_set() or (code > 0 and not begun.is_set()):
                    return code
                begun.set()
                await self._pause(stop, code)
                self._restarts += not stop.is_set()
            return 0

    async def why_not_live(self) -> str | None:
        """Return what is wrong with it that a restart has not mended or may mend; None when nothing is."""
        child = self._child
        is_well = child is not None and child.is_running and child.lived >= LIVED_WELL
        if self._back_off.ends >= TOO_MANY_ENDS and not is_well:
            return f"ended {self._back_off.ends} times in a row, the last time {self._last_end}"
        if child is None or not child.is_running or child.is_starting:
            return None
        page = await child.get("/livez")
        return "no answer" if page is None else page.problem

    async def why_not_ready(self) -> str | None:
        """Return why it cannot take orders now; None when it can."""
        page = None if self._child is None else await self._child.get("/readyz")
        return "not running, or not yet answering" if page is None else page.problem

    async def state(self) -> ProcessState:
        """Return what the metrics page says of it."""
        page = None if self._child is None else await self._child.get("/metrics")
        return ProcessState(self._restarts, None if page is None else page.text)

    async def _one_life(self, stop: asyncio.Event, begun: asyncio.Event, drain_timeout: float) -> int:
        """Start a process; return its exit code when it has ended, by itself or drained at `stop`."""
        try:
            child = await ChildProcess.start(self.number, self._arguments, self._environment, self._pages)
        except OSError as error:
            _log.error("process.not_started", number=self.number, error=str(error))
            self._child = None
            return os.EX_OSERR
        self._child = child
        await first_of(child.ended(), stop.wait(), child.watch(begun))
        await child.drain(drain_timeout)
        return await child.ended()

    async def _pause(self, stop: asyncio.Event, code: int) -> None:
        """Wait before the next start, or for `stop`."""
        lived = 0.0 if self._child is None else self._child.lived
        pause = self._back_off.after(lived)
        self._last_end = "it could not be started" if self._child is None else in_words(code)
        _log.warning(
            "process.ended",
            number=self.number,
            how=self._last_end,
            lived=round(lived, 1),
            in_a_row=self._back_off.ends,
            next_start_in=round(pause, 1),
        )
        await first_of(stop.wait(), asyncio.sleep(pause))
