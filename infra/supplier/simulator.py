"""The supplier simulator as a running HTTP server."""

import asyncio
import ssl
from collections.abc import Callable

from aiohttp import web

from infra.supplier.simulator_behaviour import Behaviour, read_behaviour
from infra.supplier.simulator_control import Control
from infra.supplier.simulator_supplier import SimulatedSupplier

_SHUTDOWN_TIMEOUT = 0.5  # seconds for answers under way; aiohttp waits for it twice at most


class CannotListen(OSError):
    """The simulator cannot listen where it was told to; the message is one line for a person."""


class SupplierSimulator:
    """A supplier on a real socket, for the demo, for tests and for trying things out.

    It may be stopped and started again: behaviour, counts and idempotency keys survive, as a supplier's database
    would. `keep_requests` bounds the recorded requests; see `Ledger` for what is not bounded. With `tls` it speaks
    HTTPS only.
    """

    def __init__(
        self, behaviour: Behaviour | None = None, *, keep_requests: int = 10_000, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self._supplier = SimulatedSupplier(behaviour or Behaviour(), keep_requests=keep_requests)
        self._runner: web.AppRunner | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """What to set as the supplier URL, without a slash at the end; raises RuntimeError if not started."""
        if self._runner is None:
            raise RuntimeError("the supplier simulator is not running")
        return self._url

    @property
    def behaviour(self) -> Behaviour:
        """The behaviour the next request meets; may be set at any time."""
        return self._supplier.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._supplier.behaviour = behaviour

    def change(self, **settings: object) -> None:
        """Change the named settings alone; raises WrongBehaviour and changes nothing if they are wrong."""
        self.behaviour = read_behaviour(settings, base=self.behaviour)

    def stats(self) -> dict[str, object]:
        """The counts, as `GET /simulator/stats` has them."""
        return self._supplier.ledger.stats()

    def requests(self, order_id: str | None = None, limit: int = 100) -> list[dict[str, object]]:
        """The last recorded requests, in the order they arrived."""
        return self._supplier.ledger.requests(order_id, limit)

    def dispatches(self, order_id: str) -> list[dict[str, object]]:
        """Every dispatch of one order."""
        return self._supplier.ledger.dispatches(order_id)

    def reset(self) -> None:
        """Forget counts, keys and dispatches; the behaviour stays."""
        self._supplier.reset()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, on a free port if `port` is 0; returns the bound port. Raises CannotListen."""
        if self._runner is not None:
            raise RuntimeError(f"the supplier simulator is already running at {self._url}")
        self._supplier.stopping.clear()
        # handler_cancellation: a client that gives up ends its request here too, hanging ones would pile up otherwise
        runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_TIMEOUT
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=1024, ssl_context=self._tls).start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            raise CannotListen(f"the supplier simulator cannot listen on {host}:{port}: {_reason(error)}") from error
        self._runner = runner
        bound_host, bound_port = runner.addresses[0][:2]
        self._url = _url("http" if self._tls is None else "https", bound_host, bound_port)
        return int(bound_port)

    async def stop(self) -> None:
        """Stop listening and end every request, within about a second; nothing happens if it is not running."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        self._supplier.stopping.set()
        await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/dispatches", self._supplier.handle)
        application.add_routes(Control(self._supplier).routes())
        return application


async def run_simulator(
    host: str, port: int, behaviour: Behaviour, *, on_ready: Callable[[SupplierSimulator], object]
) -> None:
    """Run a simulator until cancelled; `on_ready` is called once it listens. Raises CannotListen."""
    simulator = SupplierSimulator(behaviour)
    await simulator.start(host, port)
    try:
        on_ready(simulator)
        await asyncio.Event().wait()
    finally:
        await simulator.stop()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        # asyncio wraps the address and the system's words into one long text; the words come last
        return error.strerror.rpartition(": ")[2]
    return str(error)


def _url(scheme: str, host: str, port: int) -> str:
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  not bound here, only spelled
    return f"{scheme}://[{loopback}]:{port}" if ":" in loopback else f"{scheme}://{loopback}:{port}"
