"""Workers as a supervisor keeps them: what ends is started again, and what is not live for 30 s is ended."""

import asyncio
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from infra.local.ports import LOOPBACK, free_ports
from tests.chaos import wire
from tests.support.system import PROJECT

_PAUSE = 0.5
_LOOK_EVERY = 3.0
_NOT_LIVE_FOR = 30.0
_STARTING = 10.0


class Worker:
    """One worker's place: there is a process in it nearly always."""

    def __init__(self, number: int, environment: Mapping[str, str], folder: Path) -> None:
        self._health = free_ports(1)[0]
        self._environment = {**environment, "LOGISTICS_HEALTH_ADDR": f"{LOOPBACK}:{self._health}"}
        self.log = folder / f"worker-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._shift: int | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.starts = 0
        self.found_deaf = 0
        """How often the supervisor ended it because it was not live."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self) -> None:
        self._launch()
        self._keeping = asyncio.create_task(self._keep())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; what ends is started again."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)

    def shift_clock(self, seconds: int) -> None:
        """Have the next process live in another time."""
        self._shift = seconds

    async def stop(self) -> int:
        """Stop it for good, in an orderly way; return its exit code."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._process is None:
            return 0
        self.send(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._process.wait, 40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return -9

    def _launch(self) -> None:
        shift, self._shift = self._shift, None
        start = ["-m", "worker"] if shift is None else ["-m", "tests.chaos.shifted_clock", str(shift)]
        if self._process is not None:
            wire.forget(self._process.pid)
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, *start, "worker", "--consumers", "orders,dead-letters,delivered"],
                env={"PATH": "/usr/bin:/bin", **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=PROJECT,
            )
        wire.watch(self._process.pid)
        self.starts += 1

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        sound_at = loop.time() + _STARTING
        next_look = sound_at
        while True:
            await asyncio.sleep(_PAUSE)
            if self.pid is None:
                self._launch()
                sound_at = next_look = loop.time() + _STARTING
            elif loop.time() >= next_look:
                next_look = loop.time() + _LOOK_EVERY
                if await asyncio.to_thread(self._is_live):
                    sound_at = loop.time()
                elif loop.time() - sound_at > _NOT_LIVE_FOR:
                    self.found_deaf += 1
                    self.send(signal.SIGKILL)

    def _is_live(self) -> bool:
        with suppress(OSError, urllib.error.URLError):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{LOOPBACK}:{self._health}/livez", timeout=3) as answer:
                return bool(answer.status == 200)
        return False
