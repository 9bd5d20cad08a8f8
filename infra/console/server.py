"""`logistics console`, running."""

import errno
import logging
import socket
import ssl
from types import FrameType

import uvicorn

from infra.console.access.access import access_of
from infra.console.access.gate import Gate
from infra.console.app import behind_gate, console_app, open_house
from infra.console.pages.mount import add_pages
from worker.domain.errors import ConfigurationError
from worker.domain.log import StructuredLogger
from worker.settings import Settings

_SHUTDOWN_PATIENCE = 5
"""Seconds that open requests get to finish; pages that stay open do not keep the console."""

_log = StructuredLogger("logistics.console")


async def serve(settings: Settings, *, operator: str) -> None:
    """Serve until SIGTERM or Ctrl-C; `operator`: who everybody is on a console that asks nobody.

    Servers that are away are told on the pages and waited for. Raises ConfigurationError when it would let everybody
    in, and for an address or a certificate that cannot be used.
    """
    access = access_of(settings, operator=operator)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it tells of its start, we tell in one line
    with _listening(settings.console_addr) as listening:
        async with open_house(settings) as house:
            app = console_app(house, access)
            add_pages(app)
            server = _Server(_config(behind_gate(app), settings))
            scheme = "https" if settings.console_cert_file is not None else "http"
            address = _written(listening.getsockname())
            _log.info("console.started", url=settings.console_public_url or f"{scheme}://{address}", address=address)
            await server.serve(sockets=[listening])
        _log.info("console.stopped")


class _Server(uvicorn.Server):
    """Takes a signal for the wish to end, and does not send it to itself once more when everything has ended."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let open requests finish; with a second signal end at once."""
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True


def _config(app: Gate, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whom to believe is decided in access/proxies.py
        server_header=False,
        ssl_certfile=settings.console_cert_file,
        ssl_keyfile=settings.console_key_file,
        timeout_graceful_shutdown=_SHUTDOWN_PATIENCE,
        lifespan="on",
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"LOGISTICS_CONSOLE_CERT_FILE, LOGISTICS_CONSOLE_KEY_FILE cannot be used: {error.strerror or error}"
        ) from None
    return config


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen()
    except OSError as error:
        why = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigurationError(
            f"LOGISTICS_CONSOLE_ADDR: cannot listen on {address} ({why}); "
            "name another address, or port 0 for a free one"
        ) from None
    return found


def _written(name: tuple[str, int]) -> str:
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
