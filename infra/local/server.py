"""What every private server does the same way."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.local.errors import LocalServerError
from infra.local.ports import is_free
from infra.local.process import ServerProcess

START_TIMEOUT = 90.0  # seconds; an idle machine needs 2 to 9
STOP_TIMEOUT = 20.0  # seconds until a server that was asked to stop is killed
_POLL = 0.05

Command = tuple[Sequence[str], Mapping[str, str]]
"""A program with its arguments, and its whole environment."""


class PrivateServer(ABC):
    """A server of our own that keeps everything, its ports and passwords included, in one data folder.

    Stopped, killed or started again, by this object or another one for the same folder, it comes back with its data
    on the same ports. It ends with the process that started it, unless it was launched detached.
    """

    title: str
    """What people call the server."""
    remedy: str
    """What they can do when it does not start."""

    def __init__(self, data_dir: str | os.PathLike[str], *process_names: str) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.processes = [ServerProcess(name, self.data_dir) for name in process_names]
        """Its processes in the order they start: helpers, then the server itself."""

    def start(self) -> None:
        """Start the server and wait until it can be used.

        Raises LocalServerError with the reason, the end of the log and what to do.
        """
        self.launch()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the server in an orderly way; kill it when that takes longer than STOP_TIMEOUT.

        Takes 1 s (MongoDB) to 6 s (RabbitMQ, whose management plugin sits out a time-out of 5 s). Where the data is
        thrown away anyway, `kill` does it at once.
        """
        self.ask_to_stop()
        self.wait_stopped()

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        for process in reversed(self.processes):
            process.kill()

    def launch(self, *, detached: bool = False) -> None:
        """Start the processes without waiting until the server is ready; detached ones outlive this process.

        Raises LocalServerError when the server runs already, its program is missing or a port is taken.
        """
        if self.processes[-1].is_running:
            raise LocalServerError(f"{self.title} runs already in {self.data_dir}: stop it first")
        self.kill()  # helpers that a crashed server left behind
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        commands = self.prepare()
        for port in self.ports:
            if not is_free(port):
                raise LocalServerError(
                    f"{self.title} cannot start: port {port}, which belongs to {self.data_dir}, is taken by another "
                    f"program. Stop that program, or remove the folder to begin afresh"
                )
        try:
            for process, (command, environment) in zip(self.processes, commands, strict=True):
                process.start(command, environment, detached=detached)
        except BaseException:
            self.kill()
            raise

    def wait_ready(self) -> None:
        """Wait until the launched server can be used; raises like `start`."""
        deadline = time.monotonic() + START_TIMEOUT
        while (reason := self.why_not_ready()) is not None:
            for process in self.processes:
                if not process.is_running:
                    raise self._failure(f"{process.name} ended by itself", process)
            if time.monotonic() > deadline:
                raise self._failure(f"after {START_TIMEOUT:.0f} s {reason}", self.processes[-1])
            time.sleep(_POLL)

    def ask_to_stop(self) -> None:
        """Begin an orderly stop; `wait_stopped` completes it."""
        self.processes[-1].terminate()

    def wait_stopped(self) -> None:
        """Wait for the end of a server that was asked to stop; kill it when that takes longer than STOP_TIMEOUT."""
        *helpers, server = self.processes
        server.wait_stopped(STOP_TIMEOUT)
        for helper in reversed(helpers):
            helper.stop(STOP_TIMEOUT)

    @property
    def is_running(self) -> bool:
        """Whether all its processes run; it may still be starting."""
        return all(process.is_running for process in self.processes)

    @property
    @abstractmethod
    def ports(self) -> Sequence[int]:
        """The loopback ports it listens on."""

    @abstractmethod
    def prepare(self) -> Sequence[Command]:
        """Write the files the server needs and return the command of each process.

        Raises LocalServerError when a program is missing.
        """

    @abstractmethod
    def why_not_ready(self) -> str | None:
        """Return what the server does not do yet, or None when it can be used."""

    def _failure(self, reason: str, process: ServerProcess) -> LocalServerError:
        return LocalServerError(
            f"{self.title} did not start: {reason}. Its last words:\n{process.last_lines()}\n"
            f"The whole log: {process.log}\n{self.remedy}"
        )
