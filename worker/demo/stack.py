"""The demo's stack: private servers, a supplier simulator, a worker and the console, each a process of its own."""

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infra.local.errors import LocalServerError
from infra.local.files import write_private
from infra.local.ports import LOOPBACK, accepts, free_ports
from infra.local.process import ServerProcess
from infra.local.servers import LocalServers

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 15.0
STATE_FILE = "environment.json"

Say = Callable[[str], None]


class Stack:
    """Everything the pipeline needs, in one folder.

    `start` ties it to this process: it ends when this process ends, however it ends. `start_detached` leaves it
    running until `stop`, which any later process may call.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._settings = dict(settings)
        self._servers = LocalServers(folder / "servers")
        self._supplier = ServerProcess("supplier", folder)
        self._worker = ServerProcess("worker", folder)
        self._console = ServerProcess("console", folder)

    @property
    def is_running(self) -> bool:
        """Whether a worker of this stack runs."""
        return self._worker.is_running

    def start(self, say: Say) -> dict[str, str]:
        """Start all of it on fresh data; return the environment that leads to it. Raises LocalServerError."""
        if self.folder.exists() and not self.is_running:
            self._servers.stop_detached()
            shutil.rmtree(self.folder)
        return self._start(say, detached=False)

    def start_detached(self, say: Say) -> dict[str, str]:
        """Start all of it, on the data of last time, to outlive this process. Raises LocalServerError."""
        environment = self._start(say, detached=True)
        write_private(self.folder / STATE_FILE, json.dumps(environment, indent=2))
        return environment

    def environment(self) -> dict[str, str] | None:
        """Return the environment that leads to the detached stack, None when it does not run."""
        try:
            found: dict[str, str] = json.loads((self.folder / STATE_FILE).read_text())
        except (OSError, ValueError):
            return None
        return found if self.is_running else None

    def stop(self) -> bool:
        """Stop all of it, the worker first; return whether anything ran."""
        if not self.folder.exists():
            return False
        ran = self.is_running or self._supplier.is_running
        with ExitStack() as steps:
            steps.callback(self._stop_servers)
            steps.callback(self._supplier.stop, _STOP_TIMEOUT)
            steps.callback(self._worker.stop, _STOP_TIMEOUT)
            steps.callback(self._console.stop, _STOP_TIMEOUT)
        (self.folder / STATE_FILE).unlink(missing_ok=True)
        return ran

    def _stop_servers(self) -> None:
        self._servers.stop()
        self._servers.stop_detached()

    def _start(self, say: Say, *, detached: bool) -> dict[str, str]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        say("starting a private RabbitMQ and a private MongoDB (about 10 s)")
        (self._servers.start_detached if detached else self._servers.start)()
        port = free_ports(1)[0]
        addresses = {
            **self._servers.environment(),
            "LOGISTICS_SUPPLIER_URL": f"http://{LOOPBACK}:{port}",
            "LOGISTICS_HEALTH_ADDR": f"{LOOPBACK}:{free_ports(1)[0]}",
        }
        environment = {**_inherited(), **self._settings, **addresses}
        say("starting a supplier simulator and a worker")
        simulator = ["supplier-simulator", "--host", LOOPBACK, "--port", str(port)]
        self._supplier.start([sys.executable, "-m", "worker", *simulator], environment, detached=detached)
        _wait_until(lambda: accepts(port), self._supplier)
        self._worker.start([sys.executable, "-m", "worker", "worker"], environment, detached=detached)
        ready = f"http://{addresses['LOGISTICS_HEALTH_ADDR']}/readyz"
        _wait_until(lambda: _answers(ready), self._worker)
        if _has_console():
            addresses["LOGISTICS_CONSOLE_ADDR"] = self._start_console(environment, detached=detached)
        return {**self._settings, **addresses}

    def _start_console(self, environment: dict[str, str], *, detached: bool) -> str:
        address = f"{LOOPBACK}:{free_ports(1)[0]}"
        self._console.start(
            [sys.executable, "-m", "worker", "console", "--addr", address], environment, detached=detached
        )
        _wait_until(lambda: _answers(f"http://{address}/livez"), self._console)
        return address


def _has_console() -> bool:
    """Whether the console's packages are installed: the worker's do not bring them."""
    return find_spec("nicegui") is not None


class SupplierControl:
    """Changes and reads the supplier simulator of a stack."""

    def __init__(self, url: str) -> None:
        self._url = url

    def change(self, **behaviour: object) -> None:
        """Change settings of the simulator; those not named stay."""
        self._request("PATCH", "/simulator/behaviour", behaviour)

    def stats(self) -> dict[str, Any]:
        """Return the simulator's counts."""
        return self._request("GET", "/simulator/stats", None)

    def _request(self, method: str, path: str, body: object) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address of our own simulator
            f"{self._url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _opener.open(request, timeout=5) as response:
            answer: dict[str, Any] = json.load(response)
        return answer


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LOGISTICS_")}


def _answers(url: str) -> bool:
    try:
        with _opener.open(url, timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _wait_until(condition: Callable[[], bool], process: ServerProcess) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while not condition():
        if not process.is_running or time.monotonic() > deadline:
            raise LocalServerError(f"the {process.name} did not start; its last words:\n{process.last_lines()}")
        time.sleep(0.05)
