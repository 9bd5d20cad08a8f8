"""A hundred thousand dead letters: pages answer as quickly as with a hundred, and the browser stays light."""

import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from infra.mongodb.letter_documents import letter_document
from tests.browser.conftest import House, OpenHouse
from tests.support.browser import Visit, Visitor
from tests.support.letters import a_letter

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = 100_000
_BATCH = 10_000
_HEAP = 60 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened


def fill(house: House) -> None:
    template, newest = letter_document(a_letter(body=b'{"order_id": "A-1", "destination": "Oslo"}')), datetime.now(UTC)
    for start in range(0, MANY, _BATCH):
        house.system.db.dead_letters.insert_many(
            [
                {
                    **template,
                    "_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"many {number}")),
                    "revision": 0,
                    "order_id": f"many-{number:06}",
                    "trace_id": f"many-{number:06}",
                    "fingerprint": f"{number % 20:012}",
                    "reason": ("malformed", "supplier_rejected", "attempts_exhausted")[number % 3],
                    "error_message": f"kind {number % 20} of failure",
                    "dead_lettered_at": newest - timedelta(seconds=number),
                }
                for number in range(start, start + _BATCH)
            ],
            ordered=False,
        )


async def quickest(someone: Visitor, path: str, text: str) -> float:
    """Return the seconds until the text stands on the page, the better of two."""
    times = []
    for _ in range(2):
        started = time.monotonic()
        page = await someone.open(path)
        await expect(page.get_by_text(text).first).to_be_visible()
        times.append(time.monotonic() - started)
        await page.close()
    return min(times)


async def heap(page: Page) -> int:
    """Bytes of the page's scripts, after a collection."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    return int((await session.send("Runtime.getHeapUsage"))["usedSize"])


async def test_pages_are_as_quick_and_light_with_a_hundred_thousand_dead_letters(house: House, visit: Visit) -> None:
    house.put(*(a_letter() for _ in range(60)))
    someone = await visit(house)
    paths = {"/dead-letters?reason=supplier_rejected": "match", "/": "Queues"}
    few = {path: await quickest(someone, path, text) for path, text in paths.items()}
    fill(house)
    many = {path: await quickest(someone, path, text) for path, text in paths.items()}
    for path in paths:
        assert many[path] < few[path] + 1.0, (path, few[path], many[path])
    page = await someone.open("/dead-letters")
    await expect(page.get_by_text("100,060 match")).to_be_visible()
    await expect(page.get_by_role("region", name="Groups").get_by_role("row")).to_have_count(9, timeout=15_000)
    assert await heap(page) < _HEAP
    await page.get_by_role("link", name="Older").click()
    await expect(page.get_by_role("link", name="many-000050")).to_be_visible()


async def test_a_page_open_for_long_does_not_grow(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/")
    await expect(page.get_by_role("region", name="Workers").get_by_role("row")).to_have_count(2)
    await page.wait_for_timeout(1500)
    before, elements = await heap(page), await page.evaluate("document.querySelectorAll('*').length")
    await page.wait_for_timeout(3000)
    assert await heap(page) < before + 2 * 1024 * 1024
    assert await page.evaluate("document.querySelectorAll('*').length") == elements


async def test_what_a_hundred_thousand_would_be_replayed_as_is_shown_first(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/dead-letters?reason=malformed")
    await page.get_by_role("button", name="Replay all 33,334").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("malformed 33,334", timeout=15_000)
    await expect(dialog).to_contain_text("they fail again unless what reads them has changed")
    await dialog.get_by_role("button", name="Back").click()
    await expect(dialog).to_have_count(0)
