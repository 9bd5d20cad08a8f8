"""A hundred thousand dead letters: pages answer within a second, and the browser stays light."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from statistics import median

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from infra.mongodb.letter_documents import letter_document
from tests.browser.conftest import House, OpenHouse
from tests.support.browser import Visit
from tests.support.console import caller
from tests.support.letters import a_letter
from tests.support.many import one_of, put_many, seconds_from, text

pytestmark = pytest.mark.asyncio(loop_scope="session")

FEW, MANY = 400, 100_000
_HEAP = 60 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened


def fill(house: House, numbers: range) -> None:
    """Store dead letters with these numbers, the newest first, and as many lines of the audit log."""
    template = letter_document(a_letter(body=b'{"order_id": "A-1", "destination": "Oslo"}'))
    kind, at = text("", {"$mod": ["$n", 20]}, digits=12), seconds_from(datetime.now(UTC), step=-1)
    letter = {
        "_id": text("00000000-0000-4000-8000-", digits=12),
        "revision": 0,
        "order_id": text("many-", digits=6),
        "trace_id": text("many-", digits=6),
        "fingerprint": kind,
        "reason": one_of("malformed", "supplier_rejected", "attempts_exhausted"),
        "error_message": {"$concat": ["kind ", kind, " of failure"]},
        "dead_lettered_at": at,
    }
    deed = {"_id": text("deed-", digits=6), "at": at, "action": one_of("discard", "restore")}
    said = {"who": "anna", "why": "a test", "what": "1 dead letter", "job_id": None}
    put_many(house.system.db.dead_letters, template, numbers, letter)
    put_many(house.system.db.audit_log, said, numbers, deed)


async def medians(house: House, *paths: str) -> dict[str, float]:
    """Return the seconds until the console has answered with each page, the middle of three loads, taken in turn."""
    times: dict[str, list[float]] = {path: [] for path in paths}
    async with caller(house.url) as program:
        for _ in range(3):
            for path in paths:
                started = time.monotonic()
                (await program.get(path)).raise_for_status()
                times[path].append(time.monotonic() - started)
    return {path: median(taken) for path, taken in times.items()}


async def heap(page: Page) -> int:
    """Bytes of the page's scripts, after a collection."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    return int((await session.send("Runtime.getHeapUsage"))["usedSize"])


async def test_pages_answer_within_a_second_and_are_light_with_a_hundred_thousand_dead_letters(
    house: House, visit: Visit
) -> None:
    fill(house, range(FEW))
    [letter] = house.system.letters(order_id="many-000100")
    asked = ("/", "/dead-letters", "/dead-letters?reason=supplier_rejected", f"/dead-letters/{letter['_id']}",
             "/orders?q=many-000100", "/audit", "/audit?action=discard")  # fmt: skip
    few = await medians(house, *asked)
    fill(house, range(FEW, MANY))
    many = await medians(house, *asked)
    for path in asked:  # a busy machine takes longer, with few of them, too
        assert many[path] < 1.0 or many[path] < 3 * few[path], (path, few, many)
    page = await (await visit(house)).open("/dead-letters")
    await expect(page.get_by_text("100,000 match")).to_be_visible()
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
