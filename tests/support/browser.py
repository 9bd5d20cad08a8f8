"""A real browser, and pages in it that are watched for what must never happen."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, async_playwright

from worker.feed import _EVERY as _A_PICTURE

CHROMIUM = "/usr/bin/chromium"
PHONE = {"viewport": {"width": 390, "height": 844}}
_PROMISED = 2.0
_FORGIVEN = ("net::ERR_INTERNET_DISCONNECTED", "WebSocket connection")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Yield the distribution's browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visitor:
    """Somebody at a browser of their own."""

    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)
    """Errors of scripts, and whatever was fetched from elsewhere."""

    async def open(self, path: str) -> Page:
        """Open a page in a new tab, and wait until it is alive."""
        page = await self.context.new_page()
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self._look_at(request.url))
        await page.goto(f"{self.url}{path}")
        await alive(page)
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in _FORGIVEN):
            self.complaints.append(f"console: {message.text}")

    def _look_at(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.netloc != urlsplit(self.url).netloc:
            self.complaints.append(f"fetched from elsewhere: {url}")


@asynccontextmanager
async def visiting(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visitor]:
    """Yield a visitor with a profile of their own. Fails when a page of theirs had anything to complain of."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    visitor = Visitor(context, url)
    try:
        yield visitor
        assert visitor.complaints == []
    finally:
        await context.close()


async def alive(page: Page) -> None:
    """Wait until the page takes part: what is clicked before that would be lost."""
    await page.wait_for_function("window.did_handshake === true")


async def axe_complaints(page: Page) -> list[str]:
    """Return what axe finds on a page, best practices included."""
    if not await page.evaluate("typeof window.axe === 'object'"):
        await page.evaluate(AXE_SCRIPT)
    result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{found['id']} ({found['impact']}): {node['html'][:120]} {node['failureSummary'][:160]}"
        for found in result["violations"]
        for node in found["nodes"][:3]
    ]


async def seen_in_time(element: Locator, text: str, program: httpx.AsyncClient, *, since: float) -> None:
    """Wait until an element says this; check that it did within 2 s of the moment `since` (seconds since 1970).

    On a machine that is busy: within as many pictures as the console makes in 2 s on one that is not. `program`: calls
    the console.
    """

    async def pictures() -> int:
        return int((await program.get("/api/overview")).json()["number"])

    before, handle = await pictures(), await element.element_handle()
    await element.page.wait_for_function(
        "([element, text]) => element.innerText.includes(text)", arg=[handle, text], timeout=40_000
    )
    took, made = time.time() - since, await pictures() - before
    assert took < _PROMISED or made <= _PROMISED / _A_PICTURE, f"seen after {took:.1f} s and {made} pictures"


Visit = Callable[..., Awaitable[Visitor]]
