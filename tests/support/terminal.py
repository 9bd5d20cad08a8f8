"""`logistics …` on a pseudo-terminal: what a person would see, and press."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support.command import command_environment
from tests.support.system import PROJECT

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")


class Terminal:
    """A command that runs on a terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self._master = master
        self._read = b""

    @property
    def raw(self) -> str:
        """Everything printed so far, escape sequences included."""
        while True:
            try:
                data = os.read(self._master, 65536)
            except (BlockingIOError, OSError):  # nothing more for now; nobody on the other side any more
                break
            if not data:
                break
            self._read += data
        return self._read.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """Everything printed so far, as text."""
        return _ESCAPES.sub("", self.raw)

    def press(self, key: bytes) -> None:
        """Type a key; `\\x03` is Ctrl-C."""
        os.write(self._master, key)

    async def ended(self, *, timeout: float = 15.0) -> int:
        """Return the exit code. What is printed meanwhile is read: else a full terminal would hold the command up."""
        async with asyncio.timeout(timeout):
            while self.process.poll() is None:
                _ = self.raw
                await asyncio.sleep(0.05)
        return self.process.returncode


@contextmanager
def on_terminal(
    environment: Mapping[str, str], *arguments: str, columns: int = 80, rows: int = 24
) -> Iterator[Terminal]:
    """Run a command on a terminal of that size, with exactly these settings."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.set_blocking(master, False)
    variables = {**command_environment(environment), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    variables.pop("COLUMNS")
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", *arguments],
        env=variables,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=PROJECT,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C then is a signal to it
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
