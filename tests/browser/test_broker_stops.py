"""RabbitMQ is stopped and started, in earnest, while a page is open and orders flow."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from infra.local.rabbitmq import PrivateRabbitMQ
from tests.browser.conftest import House, OpenHouse
from tests.browser.test_overview import number, wrong
from tests.support.browser import Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

ORDERS = [f"o-{number}" for number in range(200)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rabbit(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateRabbitMQ]:
    server = PrivateRabbitMQ(tmp_path_factory.mktemp("rabbit") / "node")
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        server.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(open_house: OpenHouse, rabbit: PrivateRabbitMQ) -> AsyncIterator[House]:
    async with open_house(server=(rabbit.amqp_url, rabbit.management_url), LOGISTICS_PREFETCH="2") as opened:
        yield opened


@pytest.mark.timeout(180)
async def test_the_page_says_that_rabbitmq_is_stopped_and_goes_on_by_itself_when_it_is_started(
    house: House, rabbit: PrivateRabbitMQ, visit: Visit
) -> None:
    page = await (await visit(house)).open("/")
    house.system.supplier.change(latency=0.5)
    for order in ORDERS:
        await house.system.publish_order(order)
    await expect(number(page, "Waiting")).to_have_text(re.compile("1[0-9][0-9]"))
    await asyncio.to_thread(rabbit.stop)
    await expect(wrong(page)).to_contain_text("RabbitMQ not reachable since", timeout=15_000)
    await expect(wrong(page)).to_contain_text("showing what was last known")
    house.system.supplier.change(latency=0)
    await asyncio.to_thread(rabbit.start)
    await expect(wrong(page)).to_contain_text("All is well.", timeout=60_000)
    await expect(number(page, "Waiting")).to_have_text("0", timeout=60_000)
    await house.system.shipped(*ORDERS)
    assert house.system.supplier.stats()["double_dispatches"] == 0
