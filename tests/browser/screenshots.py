"""The pictures in docs/images: `python -m tests.browser.screenshots` runs the demo and takes them from its console.

With the address of a console that has run for some time, whose charts are longer, it takes the overviews from there.
"""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, FloatRect, Page

from tests.support.browser import PHONE, Visitor, alive, chromium, visiting
from tests.support.console import running_console, write_users
from tests.support.system import PROJECT, eventually

FOLDER = PROJECT / "docs" / "images"
_ORDERS = "3000"
_SIZE = """() => {
    const shown = document.querySelector(".nicegui-content > :last-child").getBoundingClientRect().bottom;
    return [innerWidth, Math.min(innerHeight, Math.ceil(shown) + 24)];
}"""
_SETTLED = 1.2  # seconds, for charts that are read after the page stands


class Demo:
    """`logistics demo --keep`, and what it has said so far."""

    def __init__(self, log: Path) -> None:
        self._log = log

    async def says(self, words: str) -> str:
        """Wait until it has said this; return all it said."""
        await eventually(lambda: words in self._log.read_text(), timeout=120.0)
        return self._log.read_text()


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Demo]:
    """Yield a demo that ends with the block."""
    log = folder / "demo.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", "demo", "--orders", _ORDERS, "--keep",
            env={**os.environ, "LOGISTICS_DATA_DIR": str(folder)}, cwd=PROJECT, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        yield Demo(log)
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


class Camera:
    """Takes pictures as three readers see the pages: in the light, in the dark, on a phone."""

    def __init__(self, **readers: Visitor) -> None:
        self._readers = readers

    async def open(self, path: str, reader: str = "light") -> Page:
        """Open a page."""
        return await self._readers[reader].open(path)

    async def take(self, name: str, path: str, reader: str = "light") -> Page:
        """Take a picture of a page; return the page."""
        page = await self.open(path, reader)
        await self.picture(name, page)
        return page

    async def picture(self, name: str, page: Page) -> None:
        """Take a picture of a page as it is now, no higher than what it shows."""
        await page.wait_for_timeout(1000 * _SETTLED)
        width, height = await page.evaluate(_SIZE)
        shown = FloatRect(x=0, y=0, width=width, height=height)
        await page.screenshot(path=FOLDER / f"console-{name}.png", clip=shown)


async def main(url: str | None) -> None:
    """Take all of them; with a URL, the overviews there."""
    FOLDER.mkdir(exist_ok=True)
    async with chromium() as browser:
        if url is not None:
            await _overviews(browser, url)
            return
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            async with demo(Path(folder)) as running:
                url = re.findall(r"in a browser: (\S+)", await running.says("watch it in a browser: "))[0]
                async with visiting(browser, url) as light, visiting(browser, url, color_scheme="dark") as dark:
                    await _story(running, Camera(light=light, dark=dark))
            await _sign_in(browser, Path(folder))


async def _overviews(browser: Browser, url: str) -> None:
    async with (
        visiting(browser, url) as light,
        visiting(browser, url, color_scheme="dark") as dark,
        visiting(browser, url, color_scheme="dark", **PHONE) as phone,
    ):
        camera = Camera(light=light, dark=dark, phone=phone)
        for name, reader in (("overview", "light"), ("overview-dark", "dark"), ("phone-overview", "phone")):
            await camera.take(name, "/", reader)
        await camera.take("phone-dead-letters", "/dead-letters", "phone")


async def _story(running: Demo, camera: Camera) -> None:
    await running.says("north warehouse is fixed")
    jobs = await camera.open("/replays", "dark")
    await jobs.get_by_role("link").filter(has_text=re.compile("^[0-9a-f]{8}$")).first.click()
    await alive(jobs)
    await camera.picture("replay", jobs)
    await running.says("everything keeps running")
    await _quiet(camera)


async def _quiet(camera: Camera) -> None:
    await camera.take("order", "/orders?q=demo-north-0003")
    await camera.take("replays", "/replays")
    await camera.take("workers", "/workers")
    await camera.take("audit", "/audit", "dark")
    letters = await camera.take("dead-letters", "/dead-letters")
    await camera.take("dead-letters-dark", "/dead-letters", "dark")
    await letters.get_by_role("button", name=re.compile("^Replay all")).click()
    await camera.picture("dry-run", letters)
    replayed = await camera.open("/dead-letters?state=all&order_id=demo-north-0003", "dark")
    await replayed.locator("a.row").first.click()
    await alive(replayed)
    await camera.picture("dead-letter", replayed)
    malformed = await camera.open("/dead-letters?reason=malformed", "dark")
    await malformed.locator("tr", has_text="destination").locator("a.row").first.click()
    await alive(malformed)
    await malformed.get_by_role("link", name="Edit and replay").click()
    await alive(malformed)
    await malformed.get_by_label("Body").fill('{\n  "order_id": "demo-no-destination",\n  "destination": "Bergen"\n}')
    await camera.picture("edit", malformed)


async def _sign_in(browser: Browser, folder: Path) -> None:
    write_users(folder / "users")
    away = {"LOGISTICS_AMQP_URL": "amqp://127.0.0.1:1", "LOGISTICS_MONGODB_URI": "mongodb://127.0.0.1:1"}
    with running_console({**away, "LOGISTICS_CONSOLE_USERS_FILE": str(folder / "users")}, folder / "log") as console:
        await console.started()
        async with visiting(browser, console.url, viewport={"width": 1280, "height": 560}) as visitor:
            page = await visitor.context.new_page()
            await page.goto(f"{console.url}/sign-in")
            await page.get_by_label("Name").fill("anna")
            await page.screenshot(path=FOLDER / "console-sign-in.png")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if sys.argv[1:] else None))
