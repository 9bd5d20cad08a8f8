"""The gate in front of everything the console serves, pages and web sockets of the pages included."""

from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.console.access.doors import Doors
from infra.console.access.headers import hardened
from infra.console.access.site import Site
from infra.console.access.visitor import Visitor, Way
from infra.console.problems import problem_response

PROBES = frozenset({"/livez", "/readyz"})
"""Answered to everybody, under every name: they tell whether it works, and nothing else."""
SIGN_IN = "/sign-in"
_OPEN = PROBES | {SIGN_IN, "/api/session"}
"""Paths that somebody who is not signed in may ask for; what is behind them looks for itself."""


class Gate:
    """An ASGI application around another: refuses what foreign pages send, knows who asks, lets nobody else in."""

    def __init__(
        self, app: ASGIApp, *, doors: Doors, site: Site, is_https: bool, max_body_size: int, house: object
    ) -> None:
        """`max_body_size`: bytes of a request; the application itself counts those that come without a length.

        `house`: what is put into `request.state.house`, for the API and the pages alike.
        """
        self.app = app
        self._max_body_size = max_body_size
        self._house = house
        self._doors = doors
        self._site = site
        self._is_https = is_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it. Who makes it is in `request.state.visitor`."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = hardened(send, path=scope["path"], is_https=self._is_https)
        headers = Headers(scope=scope)
        visitor = self._doors.visitor(headers, _peer(scope))
        scope.setdefault("state", {}).update(visitor=visitor, house=self._house)
        answer = self._answer_instead(scope, headers, visitor)
        await (self.app if answer is None else answer)(scope, receive, send)

    def _answer_instead(self, scope: Scope, headers: Headers, visitor: Visitor | None) -> ASGIApp | None:
        """Return what answers instead of the application, None when that may."""
        path, is_websocket = scope["path"], scope["type"] == "websocket"
        if path in PROBES:
            return None
        method, why = scope.get("method", "GET"), None
        if visitor is None or visitor.way is not Way.TOKEN:  # no foreign page knows a token
            is_ambient = visitor is not None and visitor.way.is_ambient
            why = self._site.why_foreign(headers, method=method, is_websocket=is_websocket, is_ambient=is_ambient)
        if why is None and _length(headers) > self._max_body_size:
            return problem_response(413, f"a request has at most {self._max_body_size:,} bytes")
        if why is None and (visitor is not None or path in _OPEN):
            return None
        if is_websocket:
            return _closed
        if why is not None:
            return problem_response(403, why)
        if method == "GET" and "text/html" in headers.get("accept", "") and not path.startswith("/api/"):
            return RedirectResponse(f"{SIGN_IN}?next={quote(_wanted(scope))}", 303)
        return problem_response(401, "sign in first: with POST /api/session, or with a token (Authorization: Bearer …)")


async def _closed(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a web socket before it opens."""
    del scope, receive
    await send({"type": "websocket.close", "code": 1008})


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _wanted(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])
