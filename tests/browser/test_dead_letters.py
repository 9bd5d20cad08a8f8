"""Dead letters in a real browser: found, read, replayed, set aside and taken back."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import House, OpenHouse
from tests.support.browser import Visit
from tests.support.letters import NOW, a_letter
from tests.support.system import eventually
from worker.domain.selection import DeadLetterState

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        opened.system.supplier.change(rules=[{"match": "refused-*", "refuse": True}])
        yield opened


async def a_refused_order(house: House, name: str) -> str:
    """Publish an order that the supplier refuses; return the id of its dead letter."""
    await house.system.publish_order(f"refused-{name}")
    await eventually(lambda: house.system.letters(order_id=f"refused-{name}"))
    return str(house.system.letters(order_id=f"refused-{name}")[0]["_id"])


def state_of(house: House, letter_id: str) -> str:
    return str(house.system.letters(_id=letter_id)[0]["state"])


def claim(house: House, letter_id: str, *, at: datetime) -> None:
    """Have the letter's replay sent at this time."""
    house.system.db.dead_letters.update_one({"_id": letter_id}, {"$set": {"replay.claimed_at": at}})


async def say_why(page: Page, do: str, why: str = "the supplier is mended") -> None:
    """Give the reason in the dialog, and go on."""
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Why").fill(why)
    await dialog.get_by_role("button", name=do, exact=True).click()
    await expect(dialog).to_have_count(0)


async def test_a_filter_stands_in_the_address_and_a_link_to_it_shows_a_colleague_the_same(
    house: House, visit: Visit
) -> None:
    house.put(a_letter(order_id="F-1", reason="malformed"), a_letter(order_id="F-2"))
    page = await (await visit(house)).open("/dead-letters?order_id=F-1")
    await expect(page.get_by_role("link", name="F-1")).to_be_visible()
    await page.get_by_label("Reason").select_option("malformed")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url("**/dead-letters?state=open&reason=malformed&order_id=F-1")
    colleague = await (await visit(house)).open(page.url.removeprefix(house.url))
    await expect(colleague.get_by_role("link", name="F-1")).to_be_visible()
    await expect(colleague.get_by_role("link", name="F-2")).to_have_count(0)
    await expect(colleague.get_by_label("Reason")).to_have_value("malformed")


async def test_a_filter_that_cannot_be_read_says_what_is_wrong(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/dead-letters?since=yesterday")
    await expect(page.get_by_role("alert")).to_contain_text("write 2h")


async def test_groups_tell_how_many_of_what_and_lead_to_their_letters(house: House, visit: Visit) -> None:
    house.put(*(a_letter(fingerprint="feedfeedfeed", error_message="G: no such street") for _ in range(7)))
    page = await (await visit(house)).open("/dead-letters")
    groups = page.get_by_role("region", name="Groups")
    row = groups.get_by_role("row").filter(has_text="G: no such street")
    await expect(row).to_contain_text("7")
    await expect(row.get_by_role("img", name=re.compile("last 24 hours"))).to_be_visible()
    await row.get_by_role("link").click()
    await expect(page.get_by_text("7 match")).to_be_visible()


async def test_one_in_full_shows_body_headers_chain_and_story(house: House, visit: Visit) -> None:
    letter_id = await a_refused_order(house, "full")
    page = await (await visit(house)).open(f"/dead-letters/{letter_id}")
    await expect(page.locator("pre.body")).to_have_text('{\n  "order_id": "refused-full",\n  "destination": "Oslo"\n}')
    await page.get_by_role("button", name="As it came").click()
    await expect(page.locator("pre.body")).to_have_text('{"order_id": "refused-full", "destination": "Oslo"}')
    await page.get_by_text("Headers (").click()
    await expect(page.get_by_role("region", name="Headers")).to_contain_text("origin_routing_key")
    story = page.get_by_role("list").filter(has_text="Received by a worker")
    await expect(story).to_contain_text("Dead letter")
    await page.get_by_role("link", name="refused-full", exact=True).click()
    await expect(page.get_by_role("heading", name="refused-full")).to_be_visible()


async def test_a_body_that_is_no_text_and_a_hostile_one_are_shown_as_text(house: House, visit: Visit) -> None:
    evil = b'<img src=x onerror="window.hacked=1">${7*7}{{7*7}}'
    binary, hostile = a_letter(body=b"\xff\xfe\x00"), a_letter(body=evil, error_message="{{ window }} <b>x</b> `${1}`")
    house.put(binary, hostile)
    someone = await visit(house)
    page = await someone.open(f"/dead-letters/{binary.id}")
    await expect(page.locator("pre.body")).to_contain_text("\\xff\\xfe")
    page = await someone.open(f"/dead-letters/{hostile.id}")
    await expect(page.locator("pre.body")).to_have_text(evil.decode())
    await expect(page.locator("p.big")).to_have_text("{{ window }} <b>x</b> `${1}`")
    assert await page.evaluate("window.hacked") is None


async def test_other_letters_of_its_order_are_a_line_that_leads_to_all_of_them(house: House, visit: Visit) -> None:
    letters = [a_letter(order_id="M & N", trace_id=f"many-{number}") for number in range(5)]
    house.put(*letters)
    page = await (await visit(house)).open(f"/dead-letters/{letters[0].id}")
    story = page.locator(".card", has=page.get_by_role("heading", name="What happened"))
    await expect(story.get_by_role("listitem")).to_have_count(1)
    await story.get_by_role("link", name="see all of them").click()
    await expect(page.get_by_text("5 match")).to_be_visible()


async def test_a_letter_that_there_is_not_says_so(house: House, visit: Visit) -> None:
    page = await (await visit(house)).open("/dead-letters/00000000-0000-0000-0000-000000000000")
    await expect(page.get_by_role("alert")).to_contain_text("there is no dead letter".capitalize())


async def test_one_is_replayed_after_a_look_at_what_would_happen_and_watched_until_it_is_shipped(
    house: House, visit: Visit
) -> None:
    letter_id = await a_refused_order(house, "one")
    house.system.supplier.change(rules=[])
    page = await (await visit(house)).open(f"/dead-letters/{letter_id}")
    await page.get_by_role("button", name="Replay", exact=True).click()
    dialog = page.get_by_role("dialog", name="Replay 1 dead letter?")
    await expect(dialog).to_contain_text("supplier rejected 1")
    await dialog.get_by_role("button", name="Replay 1 dead letter").click()
    await expect(dialog).to_contain_text("say why")
    assert state_of(house, letter_id) == "open", "nothing happens without a reason"
    await say_why(page, "Replay 1 dead letter")
    await page.wait_for_url("**/replays/*")
    await expect(page.get_by_text("1 of 1 resolved")).to_be_visible(timeout=15_000)
    assert state_of(house, letter_id) == "resolved"
    house.system.supplier.change(rules=[{"match": "refused-*", "refuse": True}])


async def test_selected_ones_are_discarded_and_taken_back_with_undo(house: House, visit: Visit) -> None:
    letters = [a_letter(order_id=f"S-{number}", trace_id="picked") for number in range(3)]
    house.put(*letters)
    page = await (await visit(house)).open("/dead-letters?trace_id=picked")
    await page.get_by_label("Select S-0").check()
    await page.get_by_label("Select S-2").check()
    await expect(page.get_by_text("2 selected")).to_be_visible()
    await page.locator(".picked").get_by_role("button", name="Discard").click()
    await say_why(page, "Discard 2 dead letters", "tests of the shop")
    await expect(page.get_by_role("status")).to_contain_text("Discarded 2 dead letters.")
    await expect(page.get_by_label("Select S-0")).to_have_count(0)
    assert [state_of(house, letter.id) for letter in letters] == ["discarded", "open", "discarded"]
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_label("Select S-0")).to_be_visible()
    assert [state_of(house, letter.id) for letter in letters] == ["open", "open", "open"]


async def test_selected_ones_are_replayed_and_the_others_stay_as_they_are(house: House, visit: Visit) -> None:
    letters = [
        a_letter(
            order_id=f"P-{number}", trace_id="resent", body=b'{"order_id": "P-%d", "destination": "Oslo"}' % number
        )
        for number in range(3)
    ]
    house.put(*letters)
    page = await (await visit(house)).open("/dead-letters?trace_id=resent")
    await page.get_by_label("Select P-0").check()
    await page.get_by_label("Select P-2").check()
    await page.locator(".picked").get_by_role("button", name="Replay").click()
    await say_why(page, "Replay 2 dead letters")
    await page.wait_for_url("**/replays/*")
    await expect(page.get_by_text("2 of 2 resolved")).to_be_visible(timeout=15_000)
    assert [state_of(house, letter.id) for letter in letters] == ["resolved", "open", "resolved"]


async def test_one_is_discarded_and_restored_on_its_own_page(house: House, visit: Visit) -> None:
    letter = a_letter(order_id="O-1")
    house.put(letter)
    page = await (await visit(house)).open(f"/dead-letters/{letter.id}")
    await page.get_by_role("button", name="Discard", exact=True).click()
    await say_why(page, "Discard 1 dead letter", "a test order")
    await expect(page.get_by_role("button", name="Replay", exact=True)).to_have_count(0)
    assert state_of(house, letter.id) == "discarded"
    await page.get_by_role("button", name="Restore").click()
    await say_why(page, "Open again", "it was a real one")
    await expect(page.get_by_role("status")).to_contain_text("Open again: 1 dead letter.")
    await expect(page.get_by_role("button", name="Replay", exact=True)).to_be_visible()
    await expect(page.get_by_role("listitem").filter(has_text="Restored")).to_contain_text("it was a real one")
    assert state_of(house, letter.id) == "open"


async def test_a_replay_whose_copy_never_came_back_is_given_up_on_the_letter_s_page_and_not_before_it_is_overdue(
    house: House, visit: Visit
) -> None:
    letter = a_letter(state=DeadLetterState.REPLAYING, replay_id="lost")
    house.put(letter)
    claim(house, letter.id, at=datetime.now(UTC))
    page = await (await visit(house)).open(f"/dead-letters/{letter.id}")
    await page.get_by_role("button", name="Give the replay up").click()
    await expect(page.get_by_role("alert")).to_contain_text("(1 replaying), and none has a replay that is overdue")
    claim(house, letter.id, at=NOW)
    await page.get_by_role("button", name="Give the replay up").click()
    await expect(page.get_by_role("dialog")).to_contain_text("1 replay overdue: given up with this")
    await say_why(page, "Open again", "purged by hand")
    await expect(page.get_by_role("button", name="Replay", exact=True)).to_be_visible()
    assert state_of(house, letter.id) == "open"


async def test_all_that_match_are_discarded_and_restored(house: House, visit: Visit) -> None:
    letters = [a_letter(trace_id="all") for _ in range(60)]
    house.put(*letters)
    someone = await visit(house)
    page = await someone.open("/dead-letters?trace_id=all")
    await page.get_by_role("button", name="Discard all 60").click()
    await say_why(page, "Discard 60 dead letters")
    await expect(page.get_by_text("No dead letter matches")).to_be_visible()
    page = await someone.open("/dead-letters?trace_id=all&state=discarded")
    await page.get_by_role("button", name="Restore all 60").click()
    await say_why(page, "Open again")
    await expect(page.get_by_role("status")).to_contain_text("Open again: 60 dead letters.")
    assert {state_of(house, letter.id) for letter in letters} == {"open"}


async def test_the_list_goes_on_where_it_ended(house: House, visit: Visit) -> None:
    house.put(*(a_letter(order_id=f"L-{number}", trace_id="long") for number in range(70)))
    page = await (await visit(house)).open("/dead-letters?trace_id=long")
    boxes = page.get_by_role("checkbox", name=re.compile("Select L-"))
    await expect(boxes).to_have_count(50)
    await page.get_by_role("link", name="Older").click()
    await expect(page.get_by_role("link", name="Newest")).to_be_visible()
    await expect(boxes).to_have_count(20)


async def test_letters_that_come_while_one_reads_are_told_of_and_shown_when_wanted(house: House, visit: Visit) -> None:
    house.put(a_letter(order_id="N-1", trace_id="news"))
    page = await (await visit(house)).open("/dead-letters?trace_id=news")
    await expect(page.get_by_role("link", name="N-1")).to_be_visible()
    house.put(a_letter(order_id="N-2", trace_id="news"))
    await page.get_by_role("button", name="The list has changed").click(timeout=40_000)
    await expect(page.get_by_role("link", name="N-2")).to_be_visible()


async def test_what_matches_is_exported_with_its_bodies(house: House, visit: Visit) -> None:
    letter = a_letter(trace_id="exported")
    house.put(letter)
    page = await (await visit(house)).open("/dead-letters?trace_id=exported")
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Export").click()
    lines = (await (await started.value).path()).read_text().splitlines()
    assert [json.loads(line)["body_text"] for line in lines] == [letter.body.decode()]


async def test_an_edit_is_checked_while_it_is_typed_shows_its_difference_and_goes_out(
    house: House, visit: Visit
) -> None:
    letter = a_letter(order_id=None, reason="malformed", body=b'{"order_id": "E-1"}', dead_lettered_at=NOW)
    house.put(letter)
    page = await (await visit(house)).open(f"/dead-letters/{letter.id}")
    await page.get_by_role("link", name="Edit and replay").click()
    body, send = page.get_by_label("Body"), page.get_by_role("button", name="Send as one copy")
    await body.fill('{"order_id": "E-1", "destination": ')
    await expect(page.get_by_role("status")).to_contain_text("the edited body is not valid")
    await expect(send).to_be_disabled()
    await body.fill('{"order_id": "E-1", "destination": "Bergen"}')
    await expect(page.get_by_role("region", name="Changes")).to_contain_text('+  "destination": "Bergen"')
    await send.click()
    await say_why(page, "Send", "the address was missing")
    await expect(page.get_by_text("Resolved: the order was shipped.")).to_be_visible(timeout=15_000)
    await house.system.shipped("E-1")
    shipment = house.system.shipment("E-1")
    assert shipment is not None
    assert shipment["destination"] == "Bergen"


async def test_headers_and_the_way_of_the_copy_are_edited_and_its_body_stays_byte_for_byte(
    house: House, visit: Visit
) -> None:
    body = b'{"destination":"Oslo",   "order_id":"H-1"}'
    letter = a_letter(order_id="H-1", body=body, headers={"x-tenant": "acme", "attempt": 6}, dead_lettered_at=NOW)
    house.put(letter)
    page = await (await visit(house)).open(f"/dead-letters/{letter.id}/edit")
    send, differs = page.get_by_role("button", name="Send as one copy"), page.get_by_role("region", name="Changes")
    await page.get_by_text("Headers, and where the copy goes").click()
    await expect(page.get_by_label("Routing key")).to_have_value("order.placed")
    headers = page.get_by_label("Headers")
    await expect(headers).to_have_value("x-tenant=acme")
    await headers.fill("x-tenant=acme\nattempt=0")
    await expect(page.get_by_role("status")).to_contain_text("'attempt' is locked")
    await expect(send).to_be_disabled()
    await headers.fill("x-tenant=globex")
    await expect(differs).to_contain_text("+ x-tenant: globex")
    await page.get_by_label("Routing key").fill("elsewhere.too")
    await expect(differs).to_contain_text("+ to orders · elsewhere.too")
    await page.get_by_label("Routing key").fill("order.placed")
    await expect(differs).not_to_contain_text("elsewhere.too")
    await send.click()
    await say_why(page, "Send", "the wrong tenant")
    await expect(page.get_by_text("Resolved: the order was shipped.")).to_be_visible(timeout=15_000)
    stored = house.system.letters(_id=letter.id)[0]
    assert (bytes(stored["body"]), stored["headers"]["x-tenant"]) == (body, "globex")


async def test_the_keys_lead_through_the_list_without_a_mouse(house: House, visit: Visit) -> None:
    house.put(a_letter(order_id="K-1", trace_id="keys"), a_letter(order_id="K-2", trace_id="keys"))
    page = await (await visit(house)).open("/dead-letters?trace_id=keys")
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    await expect(page.get_by_text("1 selected")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Replay", exact=True)).to_be_visible()
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("r")
    await page.wait_for_url("**/replays")
