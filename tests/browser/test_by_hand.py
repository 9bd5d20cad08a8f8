"""Orders, replay jobs and workers in a real browser: what happens to them, and the hand on them."""

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import House, OpenHouse
from tests.support.browser import Visit, seen_in_time
from tests.support.console import caller
from tests.support.letters import a_letter
from tests.support.system import eventually
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.shipment import shipment_id_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house(LOGISTICS_MAX_ATTEMPTS="50") as opened:
        opened.system.supplier.change(rules=[{"match": "refused-*", "refuse": True}])
        yield opened


def letters_of(trace_id: str, number: int, *, order: str) -> list[DeadLetterRecord]:
    """Dead letters whose orders ship when they are replayed, or are refused again when they are called so."""
    ids = [f"{order}-{trace_id}-{one}" for one in range(number)]
    return [
        a_letter(order_id=one, trace_id=trace_id, body=b'{"order_id": "%s", "destination": "Oslo"}' % one.encode())
        for one in ids
    ]


async def start_replay(page: Page, number: int, *, rate: str) -> None:
    await page.get_by_role("button", name=f"Replay all {number}").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("A second, at most").fill(rate)
    await dialog.get_by_label("Why").fill("the supplier is mended")
    await dialog.get_by_role("button", name=f"Replay {number} dead letters").click()
    await page.wait_for_url("**/replays/*")


async def confirm(page: Page, verb: str, why: str = "") -> None:
    await page.get_by_role("button", name=verb, exact=True).click()
    dialog = page.get_by_role("dialog")
    if why:
        await dialog.get_by_label("Why").fill(why)
    await dialog.get_by_role("button", name=f"{verb} it").click()
    await expect(dialog).to_have_count(0)


async def test_an_order_is_found_by_any_of_its_ids_and_told_from_publish_to_shipped(house: House, visit: Visit) -> None:
    await house.system.publish_order("order/1", headers={"trace_id": "trace-of-1"})
    await house.system.shipped("order/1")
    someone = await visit(house)
    page = await someone.open("/")
    for text in ("order/1", shipment_id_for("order/1"), "trace-of-1"):
        await page.get_by_role("searchbox").fill(text)
        await page.get_by_role("searchbox").press("Enter")
        await expect(page.get_by_role("heading", name="order/1")).to_be_visible()
        await expect(page.get_by_role("listitem").filter(has_text="Shipped")).to_contain_text("attempt 1 · worker")

    page = await someone.open("/orders?q=nobody")
    await expect(page.get_by_text("Nothing is known of it")).to_be_visible()


async def test_an_order_is_told_from_publish_to_delivered_with_every_time_it_was_put_off(
    house: House, visit: Visit
) -> None:
    put_off = await put_off_by_the_circuit(house)
    await house.system.shipped(put_off)
    exchange = await house.system.channel.get_exchange("shipments", ensure=False)
    notice = json.dumps({"order_id": put_off, "delivered_at": "2026-03-01T14:05:00Z"}).encode()
    await exchange.publish(aio_pika.Message(notice), "shipment.delivered", mandatory=True, timeout=10)
    await eventually(lambda: house.system.status(put_off) == "DELIVERED")
    page = await (await visit(house)).open(f"/orders?q={put_off}")
    lines = page.locator("ol.story > li")
    await expect(lines.first).to_contain_text("Published")
    await expect(lines.nth(1)).to_contain_text("Received by a worker")
    await expect(lines.filter(has_text="Deferred").first).to_contain_text("CircuitBreakerOpenException")
    await expect(lines.nth(-2)).to_contain_text("Shipped")
    await expect(lines.last).to_contain_text("Delivered")
    for place in range(await lines.count()):
        await expect(lines.nth(place).get_by_role("time")).to_have_text(re.compile(r"\d\d:\d\d"))


async def put_off_by_the_circuit(house: House) -> str:
    """Publish orders twice while the supplier is out; return the id of one whose second copy the circuit refused.

    There is one: a copy waits for the other's try, and the third failed try opens the circuit.
    """

    def refused() -> dict[str, Any] | None:
        return house.system.db.shipments.find_one({"order_id": {"$regex": "^put-off-"}, "history.event": "deferred"})

    house.system.supplier.change(outage=True, latency=0.3)
    try:
        for number in (1, 2, 3, 1, 2, 3):
            headers = {"published_at": int(time.time() * 1000)}
            await house.system.publish_order(f"put-off-{number}", headers=headers)
        await eventually(refused)
    finally:
        house.system.supplier.change(outage=False, latency=0.0)
    found = refused()
    assert found is not None
    return str(found["order_id"])


async def test_a_failed_order_leads_to_its_dead_letter(house: House, visit: Visit) -> None:
    await house.system.publish_order("refused-2")
    await eventually(lambda: house.system.letters(order_id="refused-2"))
    page = await (await visit(house)).open("/orders?q=refused-2")
    await expect(page.get_by_role("listitem").filter(has_text="Try failed")).to_contain_text("SupplierRejectedError")
    await page.get_by_role("link", name="open it").click()
    await page.wait_for_url(f"**/dead-letters/{house.system.letters(order_id='refused-2')[0]['_id']}")


async def test_a_running_replay_is_slowed_down_paused_resumed_and_cancelled(house: House, visit: Visit) -> None:
    house.put(*letters_of("steered", 40, order="fine"))
    page = await (await visit(house)).open("/dead-letters?trace_id=steered")
    await start_replay(page, 40, rate="2")
    await expect(page.get_by_text("The first were shipped")).to_be_visible(timeout=15_000)
    await page.get_by_label("A second").fill("3")
    await page.get_by_role("button", name="Set").click()
    await expect(page.get_by_role("status")).to_contain_text("At most 3.0 a second from now on.")
    await confirm(page, "Pause", "the supplier asks for a moment")
    await expect(page.get_by_text("paused by", exact=False)).to_contain_text("the supplier asks for a moment")
    await confirm(page, "Resume")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    await confirm(page, "Cancel", "enough")
    await expect(page.get_by_text("cancelled by", exact=False)).to_contain_text("enough")
    await expect(page.get_by_role("button", name="Resume")).to_be_hidden()
    resolved = len(house.system.letters(trace_id="steered", state="resolved"))
    assert 1 <= resolved < 40, "what had gone out stays out, the rest stays open"
    await page.get_by_role("link", name="audit log").click()
    for action in ("replay.start", "replay.rate", "replay.pause", "replay.resume", "replay.cancel"):
        await expect(page.get_by_role("cell", name=action)).to_be_visible()


async def test_a_replay_that_stops_by_itself_says_why_and_leads_to_what_failed(house: House, visit: Visit) -> None:
    house.put(*letters_of("again", 5, order="refused"))
    someone = await visit(house)
    page = await someone.open("/dead-letters?trace_id=again")
    await start_replay(page, 5, rate="20")
    await expect(page.locator("p.bad")).to_contain_text("the canary failed", timeout=15_000)
    trouble = page.get_by_role("region", name="Not resolved")
    await expect(trouble.get_by_role("row").filter(has_text="failed again")).to_be_visible()
    overview = await someone.open("/")
    wrong = overview.get_by_role("region", name="What is wrong")
    await expect(wrong).to_contain_text("stopped by itself")
    await wrong.get_by_role("link", name="See the replay").click()
    await overview.wait_for_url(page.url)
    await confirm(page, "Cancel")


async def test_a_second_replay_is_refused_in_words_while_one_is_active(house: House, visit: Visit) -> None:
    house.put(*letters_of("slow", 30, order="fine"), *letters_of("second", 2, order="fine"))
    someone = await visit(house)
    first = await someone.open("/dead-letters?trace_id=slow")
    await start_replay(first, 30, rate="1")
    page = await someone.open("/dead-letters?trace_id=second")
    await page.get_by_role("button", name="Replay all 2").click()
    await page.get_by_role("dialog").get_by_label("Why").fill("me too")
    await page.get_by_role("button", name="Replay 2 dead letters").click()
    await expect(page.get_by_role("alert")).to_contain_text("one at a time")
    jobs = await someone.open("/replays")
    await expect(jobs.get_by_role("row").nth(1)).to_contain_text(re.compile(r"\d+ of 30 resolved"))
    await confirm(first, "Cancel")


@pytest.mark.alone
async def test_a_worker_is_paused_and_resumed_by_hand_with_who_and_why_for_all_to_see(
    house: House, visit: Visit
) -> None:
    someone = await visit(house)
    page, overview = await someone.open("/workers"), await someone.open("/")
    row = page.get_by_role("region", name="Workers").get_by_role("row").nth(1)
    await row.get_by_role("button", name="Pause").click()
    await page.get_by_role("dialog").get_by_label("Why").fill("disk is full")
    since = time.time()
    await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    async with caller(house.url) as program:
        await seen_in_time(row, "paused", program, since=since)
    assert "logistics_paused 1.0" in (await house.system.workers[0].health("/metrics"))[1].splitlines()
    await expect(page.get_by_role("status")).to_contain_text("Carried out by 1 worker.", timeout=10_000)
    await expect(page.get_by_text("disk is full")).to_be_visible()
    await expect(overview.get_by_role("region", name="What is wrong")).to_contain_text("disk is full")
    await house.system.publish_order("waits-1")
    await eventually(lambda: house.system.depth("orders.work"))
    await row.get_by_role("button", name="Resume").click()
    await page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    await house.system.shipped("waits-1")
    await expect(row).to_contain_text("works")


async def test_prefetch_and_circuit_of_all_workers_are_set_by_hand(house: House, visit: Visit) -> None:
    someone = await visit(house)
    page = await someone.open("/workers")
    row = page.get_by_role("region", name="Workers").get_by_role("row").nth(1)
    await page.get_by_role("button", name="Prefetch").first.click()
    await page.get_by_role("dialog").get_by_label("Orders at once").fill("7")
    await page.get_by_role("dialog").get_by_role("button", name="Set").click()
    await expect(page.get_by_text("prefetch 7")).to_be_visible(timeout=10_000)
    await page.get_by_role("button", name="Open circuit").first.click()
    await page.get_by_role("dialog").get_by_label("Why").fill("wrong addresses")
    await page.get_by_role("dialog").get_by_role("button", name="Open circuit").click()
    await expect(row).to_contain_text("opened by hand", timeout=10_000)
    await page.get_by_role("button", name="Reset circuit").first.click()
    await page.get_by_role("dialog").get_by_role("button", name="Reset circuit").click()
    await expect(row).to_contain_text("closed", timeout=10_000)
    await the_audit_log_is_filtered(await someone.open("/audit"))


async def the_audit_log_is_filtered(page: Page) -> None:
    """Look for what was done to the workers, by the form."""
    rows, form = page.get_by_role("row"), page.get_by_role("search", name="Filter the audit log")
    await expect(rows.filter(has_text="replay.cancel").first).to_be_visible()
    who = await rows.nth(1).get_by_role("link").first.inner_text()
    await form.get_by_label("What").select_option("workers")
    await form.get_by_label("Who").fill(who)
    await form.get_by_label("Since").fill("1h")
    await form.get_by_role("button", name="Filter").click()
    await page.wait_for_url(f"**/audit?action=workers&who={who}&since=1h")
    await expect(rows.filter(has_text="wrong addresses")).to_contain_text("all workers")
    await expect(rows.filter(has_text="replay.")).to_have_count(0)
    await expect(form.get_by_label("Since")).to_have_value("1h")
    await form.get_by_label("Who").fill("nobody")
    await form.get_by_role("button", name="Filter").click()
    await expect(page.get_by_text("Nothing was done")).to_be_visible()
    await form.get_by_label("Since").fill("yesterday")
    await form.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("alert")).to_contain_text("write 2h")
