"""The pages are kind: axe finds nothing, dark and light, wide and on a phone; everything is reached by keyboard."""

import re
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import House, OpenHouse
from tests.support.browser import PHONE, Visit, axe_complaints
from tests.support.console import caller
from tests.support.letters import a_letter
from tests.support.system import eventually
from worker.domain.shipment import shipment_id_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        opened.system.supplier.change(rules=[{"match": "refused-*", "refuse": True}])
        opened.put(*(a_letter(trace_id="kind") for _ in range(12)))
        await opened.system.publish_order("refused-1")
        await eventually(lambda: opened.system.letters(order_id="refused-1"))
        await trouble(opened)
        yield opened


async def trouble(house: House) -> None:
    """Have a replay that stopped by itself, a worker that is held back by hand, and both in the audit log."""
    [letter] = house.system.letters(order_id="refused-1")
    async with caller(house.url) as program:
        replay = {
            "ids": [letter["_id"]],
            "why": "the supplier says it is mended, and that any order goes through again",
        }
        job = (await program.post("/api/replays", json=replay)).json()

        async def has_stopped() -> bool:
            return bool((await program.get(f"/api/replays/{job['id']}")).json()["state"] == "stopped")

        await eventually(has_stopped)
        (await program.post("/api/workers/pause", json={"why": "the disk is full"})).raise_for_status()


def pages(house: House) -> Mapping[str, str]:
    """Every page, and a text that stands on it when it is complete."""
    [letter], [job] = house.system.letters(order_id="refused-1"), house.system.db.replays.find()
    return {
        "/": "the disk is full",
        "/orders?q=refused-1": "From publish to now",
        "/orders": "Which order?",
        "/dead-letters": "What went wrong",
        f"/dead-letters/{letter['_id']}": "What happened",
        f"/dead-letters/{letter['_id']}/edit": "What changes",
        "/dead-letters/00000000-0000-0000-0000-000000000000": "Nothing here",
        "/replays": "stopped",
        f"/replays/{job['_id']}": "failed again",
        "/workers": "the disk is full",
        "/audit": "workers.pause",
        "/audit?who=nobody": "Nothing was done",
    }


@pytest.mark.parametrize(("scheme", "device"), [("light", {}), ("dark", PHONE)])
async def test_axe_finds_nothing_on_any_page(
    house: House, visit: Visit, scheme: str, device: Mapping[str, object]
) -> None:
    someone = await visit(house, color_scheme=scheme, **device)
    for path, text in pages(house).items():
        page = await someone.open(path)
        await expect(page.get_by_text(text).first).to_be_visible()
        assert await axe_complaints(page) == [], path
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} moves sideways"
        assert await page.evaluate("document.documentElement.dataset.theme") == scheme
        await page.close()


async def test_axe_finds_nothing_on_a_question_and_on_what_was_said(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/dead-letters?trace_id=kind")
    await page.get_by_role("button", name="Discard all 12").click()
    await expect(page.get_by_role("dialog").get_by_label("Why")).to_be_focused()
    assert await axe_complaints(page) == []
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert {letter["state"] for letter in house.system.letters(trace_id="kind")} == {"open"}, "Escape is a no"


async def test_an_address_that_there_is_not_is_a_page_for_people_and_a_problem_for_programs(
    house: House, visit: Visit
) -> None:
    page = await (await visit(house)).context.new_page()
    await page.goto(f"{house.url}/no-such-page")
    await expect(page.get_by_text("The console has no such page")).to_be_visible()
    await expect(page.get_by_role("navigation").get_by_role("link", name="Dead letters")).to_be_visible()
    assert await axe_complaints(page) == []
    async with caller(house.url) as program:
        answer = await program.get("/api/nothing")
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith("/api/docs lists what there is")


async def test_a_page_that_fails_says_what_to_do_and_tells_nothing_of_the_error(house: House, visit: Visit) -> None:
    house.system.db.shipments.insert_one({"_id": shipment_id_for("broken"), "order_id": "broken"})
    page = await (await visit(house)).context.new_page()
    answer = await page.goto(f"{house.url}/orders?q=broken")
    assert answer is not None
    assert answer.status == 500
    await expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    assert "KeyError" not in await page.content()
    assert await axe_complaints(page) == []
    assert await told_reference(page.get_by_role("main")) in logged_references(house)
    await page.get_by_role("link", name="overview").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_what_fails_on_a_page_that_stands_is_told_at_its_bottom(house: House, visit: Visit) -> None:
    letter = a_letter(order_id="breaks")
    house.put(letter)
    page = await (await visit(house)).open(f"/dead-letters/{letter.id}")
    house.system.db.shipments.insert_one({"_id": shipment_id_for("breaks"), "order_id": "breaks"})
    await page.get_by_role("button", name="Discard", exact=True).click()
    await page.get_by_role("dialog").get_by_label("Why").fill("a test")
    await page.get_by_role("button", name="Discard 1 dead letter").click()
    await expect(page.get_by_role("alert")).to_contain_text("The console failed at this")
    assert await told_reference(page.get_by_role("alert")) in logged_references(house)


async def told_reference(where: Locator) -> str:
    found = re.search("reference ([0-9a-f]{8})", await where.inner_text())
    assert found is not None
    return found[1]


def logged_references(house: House) -> list[str]:
    return [line["reference"] for line in house.console.events("console.failed")]


async def test_the_theme_is_turned_by_a_key_and_remembered(house: House, visit: Visit) -> None:
    someone = await visit(house, color_scheme="light")
    page = await someone.open("/audit")
    await page.keyboard.press("t")
    for shown in (page, await someone.open("/replays")):
        assert await shown.evaluate("document.documentElement.dataset.theme") == "dark"


async def test_a_phone_has_the_pages_in_a_drawer(house: House, visit: Visit) -> None:
    page = await (await visit(house, **PHONE)).open("/")
    await expect(page.get_by_role("link", name="Dead letters", exact=True)).to_be_hidden()
    await page.get_by_role("button", name="Pages").click()
    await page.get_by_role("link", name="Dead letters", exact=True).click()
    await page.wait_for_url("**/dead-letters")


async def test_a_phone_has_the_filters_folded_and_what_failed_in_words(house: House, visit: Visit) -> None:
    house.put(
        a_letter(
            order_id="P-1", trace_id="phone", reason="malformed", error_message="SupplierRejectedError: no such street"
        )
    )
    page = await (await visit(house, **PHONE)).open("/dead-letters?trace_id=phone")
    failure = page.get_by_role("region", name="Dead letters").get_by_role("cell", name="no such street")
    await expect(failure).to_have_text("no such street")
    await expect(failure).to_be_in_viewport(ratio=1)
    await expect(page.get_by_label("Order", exact=True)).to_be_hidden()
    await page.get_by_text("Filter: 1 set").click()
    await page.get_by_label("Order", exact=True).fill("P-1")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url("**/dead-letters?state=open&order_id=P-1&trace_id=phone")


async def test_a_time_in_a_filter_is_typed_and_shown_in_the_readers_zone(house: House, visit: Visit) -> None:
    page = await (await visit(house, timezone_id="Pacific/Auckland")).open("/audit")
    await page.get_by_label("Since").fill("2026-01-31 14:00")
    await page.get_by_label("Until").fill("2h")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url("**/audit?since=2026-01-31T01%3A00%3A00Z&until=2h")
    await expect(page.get_by_label("Since")).to_have_value("2026-01-31 14:00")
    colleague = await (await visit(house, timezone_id="Europe/Oslo")).open(page.url.removeprefix(house.url))
    await expect(colleague.get_by_label("Since")).to_have_value("2026-01-31 02:00")


async def test_the_first_tab_leads_past_the_navigation_and_focus_is_seen(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/dead-letters?trace_id=kind")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Replay all 12")).to_be_focused()
    assert await _outline(page) == "solid"


async def test_a_focused_row_stays_focused_while_numbers_change(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/")
    link = page.get_by_role("link", name="supplier rejected")
    await link.focus()
    house.put(a_letter(), a_letter())
    await expect(link).to_contain_text("15", timeout=40_000)
    await expect(link).to_be_focused()


async def test_times_are_in_the_readers_zone(house: House, visit: Visit) -> None:
    someone = await visit(house, timezone_id="Pacific/Auckland", locale="en-GB")
    page = await someone.open("/dead-letters?trace_id=kind")
    time = page.get_by_role("region", name="Dead letters").get_by_role("time").first
    assert "2 Mar" in await time.inner_text(), "noon of 1 March in UTC is the night to 2 March there"
    assert "GMT+13" in str(await time.get_attribute("title"))


async def _outline(page: Page) -> str:
    return str(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
