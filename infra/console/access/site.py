"""Requests that a foreign page makes a browser send: refused, whatever they carry."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from worker.console_settings import is_loopback

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OUR_OWN = frozenset({"same-origin", "none"})
_BY_A_PROXY = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Site:
    """Tells the console's own pages from others, by `Host`, `Origin` and `Sec-Fetch-*`."""

    def __init__(self, public_url: str | None, *, scheme: str = "http", asks_nobody: bool = False) -> None:
        """`public_url`: how browsers reach the console; None: under any name of this machine for itself.

        `asks_nobody`: everybody who comes in may do everything, so nobody may come through a proxy.
        """
        self._public = None if public_url is None else urlsplit(public_url)
        self._scheme = scheme
        self._asks_nobody = asks_nobody

    def why_foreign(self, headers: Headers, *, method: str, is_websocket: bool, is_ambient: bool) -> str | None:
        """Return why a request is refused, None when it is ours.

        `is_ambient`: what lets it in is something that a browser adds by itself, such as a cookie.
        """
        if self._asks_nobody and any(name in headers for name in _BY_A_PROXY):
            return "this console asks nobody who they are, and a proxy passes requests on to it: set up sign-in first"
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            return f"this console is not {host!r}: open it under its own address, or set LOGISTICS_CONSOLE_PUBLIC_URL"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin.lower() != self._origin_at(host):
            return f"a page of {origin} may not use this console"
        if site is not None and site.lower() not in _OUR_OWN and not _is_a_link(headers, method):
            return "a page of another site may not use this console"
        if (method not in _SAFE or is_websocket) and is_ambient and origin is None and site is None:
            return "say where this request comes from (Origin), or use a token: a foreign page could have sent it"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            named = urlsplit(f"//{host}")
            name, port = named.hostname or "", named.port
        except ValueError:
            return False
        if self._public is None:
            return is_loopback(name)
        standard = 443 if self._public.scheme == "https" else 80
        return (name, port or standard) == (self._public.hostname, self._public.port or standard)

    def _origin_at(self, host: str) -> str:
        return f"{self._scheme}://{host}" if self._public is None else self._public.geturl()


def _is_a_link(headers: Headers, method: str) -> bool:
    """Whether somebody follows a link to a page: that may come from anywhere."""
    mode, target = headers.get("sec-fetch-mode", ""), headers.get("sec-fetch-dest", "")
    return method in {"GET", "HEAD"} and mode == "navigate" and target == "document"
