"""The first page in a real browser: alive, and right about what is wrong."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import House, OpenHouse
from tests.support.browser import Visit, seen_in_time
from tests.support.console import caller
from tests.support.letters import a_letter
from tests.support.proxy import Proxy
from tests.support.system import System, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

WATCH = """elements => {
    window.changes = elements.map(() => []);
    elements.forEach((element, place) => new MutationObserver(() => window.changes[place].push(element.textContent))
        .observe(element, {subtree: true, childList: true, characterData: true}));
}"""
"""Keeps every text that these elements have from now on."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    settings = {
        "LOGISTICS_MAX_ATTEMPTS": "50",
        "LOGISTICS_BREAKER_RECOVERY_TIMEOUT": "4s",
        "LOGISTICS_STORE_TIMEOUT": "2s",
    }
    async with open_house(**settings) as opened:
        yield opened


def number(page: Page, name: str) -> Locator:
    """The big number of this name."""
    return page.locator(".tile", has=page.get_by_text(name, exact=True)).locator(".number")


def wrong(page: Page) -> Locator:
    return page.get_by_role("region", name="What is wrong")


def read_out(page: Page) -> Locator:
    """What a screen reader is told of what is wrong."""
    return page.locator(".verdict + [role=status]")


async def take_away(server: Proxy) -> None:
    server.refuse()
    await server.cut()


@pytest.mark.alone
async def test_what_is_new_is_seen_without_a_reload_and_nothing_jumps(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/")
    await expect(wrong(page)).to_contain_text("All is well.", timeout=40_000)
    places = await page.evaluate("[...document.querySelectorAll('.tile')].map(t => t.getBoundingClientRect().top)")
    async with caller(house.url) as program:
        house.put(*(a_letter(reason="malformed") for _ in range(1234)))
        await seen_in_time(number(page, "Dead letters open"), "1,234", program, since=time.time())
    await expect(wrong(page)).to_contain_text("1,234 dead letters open: malformed 1234.")
    await expect(wrong(page).get_by_role("link", name="See them")).to_have_attribute("href", "/dead-letters")
    await page.get_by_role("link", name="malformed 1,234").click()
    await page.wait_for_url("**/dead-letters?reason=malformed")
    await page.go_back()
    assert places == await page.evaluate(
        "[...document.querySelectorAll('.tile')].map(t => t.getBoundingClientRect().top)"
    )
    house.system.db.dead_letters.delete_many({})


@pytest.mark.alone
async def test_what_happens_to_real_orders_is_on_the_page_within_two_seconds(house: House, visit: Visit) -> None:
    page, system = await (await visit(house)).open("/"), house.system
    await expect(wrong(page)).to_contain_text("All is well.", timeout=40_000)
    try:
        async with caller(house.url) as program:
            await system.publish(b"no order")
            filed_at = await told(system, "dead_letter.filed")
            await seen_in_time(wrong(page), "1 dead letter open: malformed 1.", program, since=filed_at)
            (await program.post("/api/workers/pause", json={"why": "a test"})).raise_for_status()
            await system.publish_order("waits-1")
            await seen_in_time(number(page, "Waiting"), "1", program, since=time.time())
            (await program.post("/api/workers/resume", json={})).raise_for_status()
            await system.shipped("waits-1")
            system.supplier.change(outage=True)
            for order in range(6):
                await system.publish_order(f"opens-{order}")
            opened_at = await told(system, "circuit.open")
            await seen_in_time(wrong(page), "Circuit open", program, since=opened_at)
    finally:
        system.supplier.change(outage=False)
        system.db.dead_letters.delete_many({})
    await expect(wrong(page)).to_contain_text("All is well.", timeout=40_000)


async def told(system: System, event: str) -> float:
    """Wait until the worker's log tells of the event; return when it happened, in seconds since 1970."""
    await eventually(lambda: system.workers[0].events(event))
    return datetime.fromisoformat(system.workers[0].events(event)[0]["timestamp"]).timestamp()


async def test_an_open_circuit_counts_down_and_is_read_out_once(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/")
    await expect(wrong(page)).to_contain_text("All is well.", timeout=40_000)
    await page.evaluate(WATCH, [await read_out(page).element_handle(), await wrong(page).element_handle()])
    house.system.supplier.change(outage=True)
    for order in range(6):
        await house.system.publish_order(f"circuit-{order}")
    await expect(wrong(page)).to_contain_text(re.compile("Circuit open for .+ on 1 of 1 worker"), timeout=15_000)
    await expect(wrong(page)).to_contain_text("supplier answers HTTP 503")
    await expect(page.get_by_role("region", name="Workers")).to_contain_text(re.compile("next try in [1-4] s"))
    await expect(wrong(page).get_by_role("link", name="Workers")).to_have_attribute("href", "/workers")
    counts_down = "window.changes[1].filter(text => text.includes('Circuit open')).length > 2"
    await page.wait_for_function(counts_down, timeout=40_000)
    house.system.supplier.change(outage=False)
    await expect(read_out(page)).to_have_text("All is well.", timeout=40_000)
    said, _ = await page.evaluate("window.changes")
    assert len([text for text in said if "circuit open" in text]) == 1


async def test_a_broker_that_goes_away_and_comes_back_while_the_page_is_open(house: House, visit: Visit) -> None:
    page = await (await visit(house, timezone_id="Pacific/Auckland", locale="en-GB")).open("/")
    await expect(number(page, "Waiting")).to_have_text("0")
    await take_away(house.broker)
    await expect(wrong(page)).to_contain_text("RabbitMQ not reachable since", timeout=15_000)
    await expect(wrong(page)).not_to_contain_text("UTC")
    assert "GMT+1" in str(await wrong(page).get_by_role("time").get_attribute("title")), "the reader's zone"
    await expect(number(page, "Waiting")).to_have_text("0", timeout=1)  # last known
    await expect(page.get_by_role("region", name="Workers")).to_contain_text("works")
    await house.broker.listen()
    await expect(wrong(page)).to_contain_text("All is well.", timeout=40_000)


async def test_a_store_that_goes_away_leaves_what_was_last_known_and_other_pages_say_what_to_do(
    house: House, visit: Visit
) -> None:
    someone = await visit(house)
    page = await someone.open("/")
    await expect(wrong(page)).to_contain_text("All is well.", timeout=40_000)
    audit = await someone.open("/audit")
    await take_away(house.store)
    await expect(audit.get_by_role("status")).to_contain_text("MongoDB not reachable", timeout=15_000)
    await expect(wrong(page)).to_contain_text("MongoDB not reachable since", timeout=15_000)
    await expect(wrong(page)).to_contain_text("showing what was last known")
    await expect(page.get_by_role("region", name="Workers")).to_contain_text("works")
    letters = await someone.open("/dead-letters")
    await expect(letters.get_by_role("alert")).to_contain_text("MongoDB does not answer", timeout=15_000)
    await house.store.listen()
    await expect(wrong(page)).to_contain_text("All is well.", timeout=40_000)
    await letters.get_by_role("button", name="Try again").click()
    await expect(letters.get_by_role("heading", name="Dead letters")).to_be_visible()


async def test_how_the_numbers_went_is_drawn_over_the_hour_and_the_day(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/")
    for span in ("Last hour", "Last 24 hours"):
        await page.get_by_role("button", name=span).click()
        await expect(page.get_by_role("button", pressed=True)).to_have_text(span)
        line = page.get_by_role("img", name="Dead letters open: how it went").locator("path").last
        await expect(line).to_have_attribute("d", re.compile("^M"), timeout=30_000)


async def test_however_many_look_the_broker_is_asked_by_one(house: House, visit: Visit) -> None:
    def connections() -> int:
        return len(house.broker.connections(b"logistics"))

    someone = await visit(house)
    await someone.open("/")
    await eventually(lambda: connections() >= 1)
    before = connections()
    await asyncio.gather(*(someone.open("/") for _ in range(4)))
    assert connections() == before
