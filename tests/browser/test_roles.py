"""Who sees what in a real browser: readers, operators, two of them at once, and somebody who is not signed in."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import House, OpenHouse
from tests.support.browser import Visit, Visitor, alive, axe_complaints
from tests.support.console import PASSWORD, write_users
from tests.support.letters import a_letter
from tests.support.system import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    users: Path = tmp_path_factory.mktemp("users") / "users"
    write_users(users)
    async with open_house(LOGISTICS_CONSOLE_USERS_FILE=str(users)) as opened:
        opened.system.supplier.change(rules=[{"match": "refused-*", "refuse": True}])
        yield opened


async def sign_in(visitor: Visitor, name: str, path: str = "/") -> Page:
    page = await visitor.context.new_page()
    await page.goto(f"{visitor.url}{path}")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await alive(page)
    return page


async def test_a_link_from_a_colleague_leads_through_the_sign_in_to_what_it_names(house: House, visit: Visit) -> None:
    house.put(a_letter(order_id="R-1", trace_id="linked"))
    someone = await visit(house)
    page = await sign_in(someone, "anna", "/dead-letters?trace_id=linked")
    await expect(page.get_by_role("link", name="R-1")).to_be_visible()
    await expect(page.get_by_text("anna · operator")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.goto(f"{house.url}/dead-letters")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_reader_sees_no_destination_no_body_and_nothing_to_do(house: House, visit: Visit) -> None:
    await house.system.publish({"order_id": "refused-r", "destination": "Karl Johans gate 1"})
    await eventually(lambda: house.system.letters(order_id="refused-r"))
    someone = await visit(house)
    page = await sign_in(someone, "rita", "/dead-letters")
    await expect(page.get_by_role("link", name="refused-r")).to_be_visible()
    await expect(page.get_by_role("checkbox")).to_have_count(0)
    await expect(page.get_by_role("link", name="Export")).to_have_count(0)
    await expect(page.get_by_role("button", name=re.compile("Replay|Discard"))).to_have_count(0)
    letter_id = house.system.letters(order_id="refused-r")[0]["_id"]
    page = await someone.open(f"/dead-letters/{letter_id}")
    await expect(page.get_by_text("The role operator sees it")).to_be_visible()
    await expect(page.get_by_text("•••")).to_be_visible()
    assert "Karl Johans" not in await page.content()
    await expect(page.get_by_role("button", name="Discard")).to_have_count(0)
    page = await someone.open(f"/dead-letters/{letter_id}/edit")
    await expect(page.get_by_role("alert")).to_contain_text("needs the role operator")


async def test_of_two_operators_the_second_learns_what_the_first_has_done(house: House, visit: Visit) -> None:
    letter = a_letter(order_id="T-1")
    house.put(letter)
    anna, otto = await visit(house), await visit(house)
    first, second = await sign_in(anna, "anna", f"/dead-letters/{letter.id}"), await sign_in(otto, "otto")
    second = await otto.open(f"/dead-letters/{letter.id}")
    for page in (first, second):
        await page.get_by_role("button", name="Discard", exact=True).click()
        await page.get_by_role("dialog").get_by_label("Why").fill("a test")
    await first.get_by_role("button", name="Discard 1 dead letter").click()
    await expect(first.get_by_role("status")).to_contain_text("Discarded 1 dead letter.")
    await second.get_by_role("button", name="Discard 1 dead letter").click()
    await expect(second.get_by_role("status")).to_contain_text("1 dead letter changed meanwhile")
    await expect(second.get_by_role("button", name="Restore")).to_be_visible()
    audit = await anna.open("/audit?action=discard")
    await expect(audit.get_by_role("link", name="anna")).to_be_visible()


async def test_of_two_operators_who_edit_the_same_letter_the_second_is_told_and_keeps_what_was_typed(
    house: House, visit: Visit
) -> None:
    letter = a_letter(order_id="T-2", body=b'{"order_id": "T-2", "destination": "Olso"}')
    house.put(letter)
    anna, otto = await visit(house), await visit(house)
    first = await sign_in(anna, "anna", f"/dead-letters/{letter.id}/edit")
    second = await sign_in(otto, "otto", f"/dead-letters/{letter.id}/edit")
    for page, town in ((first, "Oslo"), (second, "Bergen")):
        await page.get_by_label("Body").fill(f'{{"order_id": "T-2", "destination": "{town}"}}')
        await page.get_by_role("button", name="Send as one copy").click()
        await page.get_by_role("dialog").get_by_label("Why").fill("typo")
    await first.get_by_role("button", name="Send", exact=True).click()
    await expect(first.get_by_role("dialog")).to_have_count(0)
    await second.get_by_role("button", name="Send", exact=True).click()
    theirs = f"dead letter {letter.id} is (being replayed by anna|resolved: its order was shipped)"
    await expect(second.get_by_role("alert")).to_contain_text(re.compile(theirs))
    await expect(second.get_by_label("Body")).to_have_value(re.compile("Bergen"))
    await house.system.shipped("T-2")
    assert house.system.supplier.stats()["double_dispatches"] == 0
    shipment = house.system.shipment("T-2")
    assert shipment is not None
    assert shipment["destination"] == "Oslo"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_the_page_to_sign_in_on_nor_on_an_empty_one_behind_it(
    house: House, visit: Visit, scheme: str
) -> None:
    someone = await visit(house, color_scheme=scheme)
    page = await someone.context.new_page()
    await page.goto(f"{house.url}/sign-in")
    await page.get_by_label("Name").fill("anna")
    await page.get_by_label("Password").fill("a guess, a wrong one")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("no user of this name has this password")
    assert await axe_complaints(page) == []
    empty = await sign_in(someone, "rita", "/replays")
    await expect(empty.get_by_text("Nothing was replayed yet")).to_be_visible()
    assert await axe_complaints(empty) == []


async def test_a_page_that_outlives_its_sign_in_asks_for_another(house: House, visit: Visit) -> None:
    someone = await visit(house)
    page = await sign_in(someone, "anna", "/")
    other = await someone.open("/audit")
    await other.get_by_role("button", name="Sign out").click()
    await expect(page).to_have_url(re.compile("/sign-in[?]next=/"), timeout=10_000)


async def test_the_empty_page_of_replays_comes_alive_with_the_first_job(house: House, visit: Visit) -> None:
    letter = a_letter(order_id="first", body=b'{"order_id": "first", "destination": "Oslo"}')
    house.put(letter)
    someone = await visit(house)
    jobs = await sign_in(someone, "anna", "/replays")
    await expect(jobs.get_by_text("Nothing was replayed yet")).to_be_visible()
    await expect(jobs.get_by_role("table")).to_have_count(0)
    page = await someone.open(f"/dead-letters/{letter.id}")
    await page.get_by_role("button", name="Replay", exact=True).click()
    await page.get_by_role("dialog").get_by_label("Why").fill("a test")
    await page.get_by_role("button", name="Replay 1 dead letter").click()
    await expect(jobs.get_by_role("region", name="Replay jobs")).to_contain_text("1 of 1 resolved", timeout=15_000)
    await expect(jobs.get_by_text("Nothing was replayed yet")).to_be_hidden()
