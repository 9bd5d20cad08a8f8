"""One browser for all tests, and for each module a system with a console and workers that all of its tests share."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from infra.mongodb.letter_documents import letter_document
from infra.supplier.simulator import SupplierSimulator
from tests.conftest import own_broker, own_database
from tests.support.browser import Visit, Visitor, chromium, visiting
from tests.support.console import ConsoleProcess, running_console
from tests.support.proxy import Proxy, proxy_to_broker, proxy_to_store
from tests.support.system import System, running_system
from worker.domain.dead_letter import DeadLetterRecord


@dataclass
class House:
    """A system, and the console on it."""

    system: System
    console: ConsoleProcess
    broker: Proxy
    """What the console, and nobody else, reaches RabbitMQ through."""
    store: Proxy
    """The same for MongoDB."""

    @property
    def url(self) -> str:
        return self.console.url

    def put(self, *letters: DeadLetterRecord) -> None:
        """Store dead letters as if they had been filed."""
        self.system.db.dead_letters.insert_many(
            [{"_id": letter.id, **letter_document(letter), "revision": 0} for letter in letters]
        )


OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture(scope="module")
def open_house(rabbitmq: tuple[str, str], mongod_uri: str, tmp_path_factory: pytest.TempPathFactory) -> OpenHouse:
    """Opens a house of one's own: `async with open_house(workers=2, LOGISTICS_PREFETCH="5") as house`.

    `server`: the AMQP and the management URL of a RabbitMQ of its own, too.
    """
    folder = tmp_path_factory.mktemp("house")

    @asynccontextmanager
    async def opened(*, workers: int = 1, server: tuple[str, str] = rabbitmq, **settings: str) -> AsyncIterator[House]:
        async with AsyncExitStack() as stack:
            broker = stack.enter_context(own_broker(server))
            mongo = stack.enter_context(own_database(mongod_uri))
            supplier = SupplierSimulator()
            await supplier.start()
            stack.push_async_callback(supplier.stop)
            system = await stack.enter_async_context(
                running_system(
                    amqp_url=broker.amqp_url,
                    mongodb_uri=mongo.uri,
                    database=mongo.database,
                    supplier=supplier,
                    folder=folder,
                )
            )
            system.settings |= settings
            for _ in range(workers):
                await system.start_worker()
            to_broker = await stack.enter_async_context(proxy_to_broker(broker.amqp_url))
            to_store = await stack.enter_async_context(proxy_to_store(mongo.uri))
            ways = {"LOGISTICS_AMQP_URL": to_broker.url, "LOGISTICS_MONGODB_URI": to_store.url}
            environment = system.environment(**ways)
            console = stack.enter_context(running_console(environment, folder / "console.log"))
            await console.started()
            yield House(system, console, to_broker, to_store)

    return opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """Lets somebody with a browser profile of their own in: `await visit(house)`; several may be there at once."""
    async with AsyncExitStack() as stack:

        async def come(house: House, **options: object) -> Visitor:
            return await stack.enter_async_context(visiting(browser, house.url, **options))

        yield come
