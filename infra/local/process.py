"""One server program in the background, known by its pid file."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import LocalServerError
from infra.local.files import read_if_there, write_private
from infra.local.spawn import spawn

_POLL = 0.02  # seconds between two looks at a process that is to end


class ServerProcess:
    """A program that runs in a folder, with `<name>.pid` and `<name>.log` there.

    Whoever opens the same name and folder later, in another process too, finds the same program. The pid file also
    holds the time the process started, so a pid that the system has given to somebody else is never signalled.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._pid_file = folder / f"{name}.pid"
        self._child: int | None = None

    @property
    def pid(self) -> int | None:
        """The pid while the program runs, else None."""
        recorded = self._recorded()
        return recorded.pid if recorded is not None and self._runs(recorded) else None

    @property
    def is_running(self) -> bool:
        """Whether the program runs."""
        return self.pid is not None

    def start(self, command: Sequence[str], environment: Mapping[str, str], *, detached: bool = False) -> None:
        """Start the program; it dies with this process unless detached (see `spawn`).

        Raises LocalServerError when it runs already. The log of the run before is kept as `<name>.previous.log`.
        """
        if self.is_running:
            raise LocalServerError(f"{self.name} runs already in {self.folder}: stop it first")
        if self.log.exists():
            self.log.replace(self.folder / f"{self.name}.previous.log")
        pid = spawn(command, environment=environment, folder=self.folder, log=self.log, detached=detached)
        self._child = pid
        # One that has ended already gets a start time no process has.
        write_private(self._pid_file, f"{pid} {_started(pid) or 0}\n")

    def send(self, number: signal.Signals) -> None:
        """Send the signal, if the program still runs."""
        recorded = self._recorded()
        if recorded is None:
            return
        try:
            handle = os.pidfd_open(recorded.pid)
        except ProcessLookupError:
            return
        try:
            # The handle cannot move on to another process, so what is true after opening it stays true.
            if self._runs(recorded):
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def terminate(self) -> None:
        """Ask the program to end (SIGTERM)."""
        self.send(signal.SIGTERM)

    def wait_stopped(self, timeout: float) -> None:
        """Wait until the program has ended; after that many seconds, kill it."""
        if not self._ends_within(timeout):
            self.kill()
        self._pid_file.unlink(missing_ok=True)

    def stop(self, timeout: float) -> None:
        """Ask the program to end (SIGTERM) and wait; after that many seconds, kill it."""
        self.terminate()
        self.wait_stopped(timeout)

    def kill(self) -> None:
        """End the program at once (SIGKILL), as a crash would."""
        self.send(signal.SIGKILL)
        if not self._ends_within(10):
            raise LocalServerError(f"{self.name} (pid {self.pid}) cannot be killed: its disk may hang")
        self._pid_file.unlink(missing_ok=True)

    def last_lines(self, count: int = 8) -> str:
        """Return the end of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return "\n".join(f"  {line[:400]}" for line in lines[-count:]) or "  (nothing)"

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _recorded(self) -> "_Identity | None":
        text = read_if_there(self._pid_file)
        return _Identity(*map(int, text.split())) if text else None

    def _runs(self, recorded: "_Identity") -> bool:
        if recorded.pid == self._child:
            self._collect(recorded.pid)
        return _started(recorded.pid) == recorded.started

    def _collect(self, child: int) -> None:
        # A child that has ended stays in the process table until its parent asks for its exit status.
        try:
            ended, _ = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:
            ended = child
        if ended:
            self._child = None


@dataclass(frozen=True)
class _Identity:
    pid: int
    started: int


def _started(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot, or None when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        # The name in parentheses may hold anything, so the fields are counted behind it: state is 3, start time 22.
        state, *fields = stat.rpartition(b")")[2].split()
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A zombie has ended, but while it has other threads these still hold its files and ports.
    return None if state in b"ZX" and threads <= 1 else int(fields[18])
