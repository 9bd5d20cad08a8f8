"""The worker's health over HTTP: `/livez`, `/readyz`, `/metrics`."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from infra.telemetry.metrics import CONTENT_TYPE
from worker.domain.errors import ConfigurationError

Check = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Returns, by what was looked at, what is wrong with it, None when it is fine."""

_DEFAULT = ("127.0.0.1", 8081)


class HealthServer:
    """Answers 200 when every check is fine, 503 with the reasons when not.

    Answering at all shows that the event loop moves: a supervisor's probe needs a time-out.
    """

    def __init__(self, *, live: Check, ready: Check, metrics: Callable[[], Awaitable[bytes]]) -> None:
        self._live = live
        self._ready = ready
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def listen(self, address: str | None) -> str:
        """Listen at this `host:port`; return the URL. Raises ConfigurationError when the address is taken.

        None: at the default address or, when another worker has it, at a free port.
        """
        if address is not None:
            host, _, port = address.rpartition(":")
            return f"http://{host}:{await self.start(host.strip('[]'), int(port))}"
        host, default_port = _DEFAULT
        try:
            return f"http://{host}:{await self.start(host, default_port)}"
        except ConfigurationError:
            return f"http://{host}:{await self.start(host, 0)}"

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port (a free one for 0). Raises ConfigurationError when the address is taken."""
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics_page)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigurationError(
                f"LOGISTICS_HEALTH_ADDR: cannot listen on {host}:{port} ({error.strerror}); "
                "name another address, or port 0 for a free one"
            ) from None
        self._runner = runner
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(await self._live())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(await self._ready())

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._metrics(), headers={"Content-Type": CONTENT_TYPE})


def _answer(checks: Mapping[str, str | None]) -> web.Response:
    fine = all(problem is None for problem in checks.values())
    lines = [f"{name}: {problem or 'ok'}" for name, problem in checks.items()]
    return web.Response(text="\n".join(lines) + "\n", status=200 if fine else 503)
