"""What every answer tells the browser not to allow."""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

# The pages' library compiles its templates in the browser, and puts styles and scripts into the page.
_PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_DOCUMENTS = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PLAIN_PAGE = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""For pages of ours that need no script."""

_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def hardened(send: Send, *, path: str, is_https: bool) -> Send:
    """Return a `send` that adds the headers to an answer; what it says itself about content and caching stays."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_ALWAYS)
            headers.setdefault("content-security-policy", _DOCUMENTS if path.startswith("/api/") else _PAGES)
            headers.setdefault("cache-control", "no-store")
            if is_https:
                headers["strict-transport-security"] = "max-age=31536000"
        await send(message)

    return send_with_headers
