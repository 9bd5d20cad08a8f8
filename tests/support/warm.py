"""`python -m worker` in a fork of a process that has imported all of it.

Starting Python and importing the libraries is half a second of processor time, well over a thousand times in a run of
all tests. What the program does is the same; that it starts from nothing is tested where it matters.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from worker.cli import COMMANDS

_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(
    [
        "tests.support.warm",
        "uvloop",
        "worker.bootstrap",
        "worker.lifecycle",
        *{name.partition(":")[0] for name in COMMANDS.values()},
    ]
)


class WarmProcess:
    """A program that was started; it is waited for and sent signals like a `subprocess.Popen`."""

    def __init__(
        self, environment: Mapping[str, str], arguments: tuple[str, ...], *, out: Path, err: Path, cwd: Path
    ) -> None:
        """`out`, `err`: where it writes; both may be one file. `environment`: its variables, and no others."""
        for path in (out, err):
            path.write_bytes(b"")
        self._process = _WARM.Process(target=_be, args=(dict(environment), arguments, out, err, cwd), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raise subprocess.TimeoutExpired when it does not in these seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("logistics", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _be(environment: Mapping[str, str], arguments: tuple[str, ...], out: Path, err: Path, cwd: Path) -> None:
    sys.stdin, sys.stdout, sys.stderr = Path(os.devnull).open(), out.open("a"), err.open("a")  # noqa: SIM115 - until it ends
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        os.dup2(stream.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["logistics", *arguments]
    runpy.run_module("worker", run_name="__main__")
