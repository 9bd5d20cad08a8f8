"""RabbitMQ and MongoDB together: what the demo, the tests and `make up` start and stop."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.errors import LocalServerError
from infra.local.files import write_private
from infra.local.lock import FolderLock
from infra.local.mongod import PrivateMongod
from infra.local.rabbitmq import PrivateRabbitMQ


class LocalServers:
    """Both private servers in one data folder.

    With `start` they belong to this process and end with it, however it ends. With `start_detached` they stay until
    somebody calls `stop_detached` for the folder. A folder serves one run at a time; what a killed run left behind
    in it is stopped before the next one starts.
    """

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.rabbitmq = PrivateRabbitMQ(self.data_dir / "rabbitmq")
        self.mongod = PrivateMongod(self.data_dir / "mongodb")
        self._servers = (self.mongod, self.rabbitmq)  # the quick one first, so that its failure shows at once
        self._lock = FolderLock(self.data_dir)
        self._state = self.data_dir / "state.json"

    def environment(self) -> dict[str, str]:
        """Return the settings that lead to these servers; they hold a password."""
        return {"LOGISTICS_AMQP_URL": self.rabbitmq.amqp_url, "LOGISTICS_MONGODB_URI": self.mongod.mongodb_uri}

    def start(self) -> None:
        """Start both at the same time and wait until both can be used.

        Raises LocalServerError when the folder is in use or a server does not start; then neither is left running.
        """
        self._claim()
        try:
            self._start(detached=False)
        except BaseException:
            self._lock.release()
            raise

    def stop(self) -> None:
        """Stop both at the same time in an orderly way, which takes about 6 s; do nothing unless started by `start`."""
        if self._lock.is_held:
            with self._claimed():
                self._stop()

    def kill(self) -> None:
        """End both at once, for data that nobody needs again; do nothing unless started by `start`."""
        if self._lock.is_held:
            with self._claimed():
                self._kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start_detached(self) -> None:
        """Start both like `start`, but to outlive this process; from then on `find_running` finds them."""
        self._claim()
        with self._claimed():
            self._start(detached=True)
            write_private(self._state, json.dumps(self.environment(), indent=2))

    def stop_detached(self) -> bool:
        """Stop what `start_detached` or a killed run left in the folder; return whether there was anything.

        Raises LocalServerError when the servers belong to a live run.
        """
        if not self.data_dir.exists():
            return False
        self._claim()
        with self._claimed():
            any_left = any(process.is_running for server in self._servers for process in server.processes)
            self._stop()
        return any_left

    @classmethod
    def find_running(cls, data_dir: str | os.PathLike[str]) -> dict[str, str] | None:
        """Return the `environment` of the folder's detached servers, or None unless both can be used now."""
        servers = cls(data_dir)
        return servers.environment() if servers.run_detached and servers.are_ready else None

    @property
    def run_detached(self) -> bool:
        """Whether both were started by `start_detached` and still run."""
        self._refuse_foreign_folder()
        return self._state.exists() and all(server.is_running for server in self._servers)

    @property
    def are_ready(self) -> bool:
        """Whether both can be used now."""
        return all(server.why_not_ready() is None for server in self._servers)

    def _start(self, *, detached: bool) -> None:
        if self.run_detached:
            raise LocalServerError(f"servers from {self.data_dir} run already (make up): use these, or make down first")
        self._stop()  # what a killed run left behind
        try:
            for server in self._servers:
                server.launch(detached=detached)
            for server in self._servers:
                server.wait_ready()
        except BaseException:
            self._kill()
            raise

    def _stop(self) -> None:
        self._state.unlink(missing_ok=True)
        with ExitStack() as last_first:  # each step is taken, whatever happens in the others
            for server in self._servers:
                last_first.callback(server.wait_stopped)
            for server in self._servers:
                last_first.callback(server.ask_to_stop)

    def _kill(self) -> None:
        with ExitStack() as last_first:
            for server in self._servers:
                last_first.callback(server.kill)

    def _claim(self) -> None:
        self._refuse_foreign_folder()
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalServerError(f"cannot make the folder {self.data_dir} ({error.strerror}): use another") from error
        if not self._lock.acquire():
            raise LocalServerError(f"{self.data_dir} is in use by another run: let it end, or use another folder")

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._lock.release()

    def _refuse_foreign_folder(self) -> None:
        try:
            usable = not self.data_dir.exists() or os.access(self.data_dir, os.W_OK | os.X_OK)
        except PermissionError:  # a folder above it is closed to us
            usable = False
        if not usable:
            raise LocalServerError(f"{self.data_dir} belongs to another user: use another folder, or remove it")
