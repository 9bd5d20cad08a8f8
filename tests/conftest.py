"""The real servers that tests run against: those of the environment, else private ones for this run."""

import os
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from infra.local.management import Management
from infra.local.mongod import PrivateMongod
from infra.local.rabbitmq import PrivateRabbitMQ
from infra.local.server import Command
from infra.supplier.simulator import SupplierSimulator
from tests.support.system import System, running_system

# A shell starts what it puts in the background with Ctrl-C ignored, and so would be every program under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MANAGEMENT_VARIABLE = "LOGISTICS_TEST_MANAGEMENT_URL"


class QuickMongod(PrivateMongod):
    """Looks for expired documents every second, not every minute."""

    def prepare(self) -> Sequence[Command]:
        return [([*line, "--setParameter", "ttlMonitorSleepSecs=1"], env) for line, env in super().prepare()]


@dataclass(frozen=True)
class Broker:
    """A virtual host of its own for one test."""

    amqp_url: str
    management_url: str
    vhost: str


@dataclass(frozen=True)
class Mongo:
    """A database of its own for one test."""

    uri: str
    database: str


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="logistics-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def rabbitmq(servers_dir: Path) -> Iterator[tuple[str, str]]:
    """The AMQP URL and the management URL of a RabbitMQ."""
    given, management = os.environ.get("LOGISTICS_AMQP_URL"), os.environ.get(MANAGEMENT_VARIABLE)
    if given and management:
        yield given, management
        return
    server = PrivateRabbitMQ(servers_dir / "rabbitmq")
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        yield server.amqp_url, server.management_url


@pytest.fixture(scope="session")
def mongod_uri(servers_dir: Path) -> Iterator[str]:
    """The URI of a MongoDB replica set."""
    given = os.environ.get("LOGISTICS_MONGODB_URI")
    if given:
        yield given
        return
    server = QuickMongod(servers_dir / "mongod")
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        yield server.mongodb_uri


@pytest.fixture
def broker(rabbitmq: tuple[str, str]) -> Iterator[Broker]:
    with own_broker(rabbitmq) as own:
        yield own


@contextmanager
def own_broker(rabbitmq: tuple[str, str]) -> Iterator[Broker]:
    amqp_url, management_url = rabbitmq
    login = urlsplit(amqp_url)
    management = Management(
        urlsplit(management_url).port or 15672, login.username or "guest", login.password or "guest"
    )
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    management.add_vhost(vhost)
    try:
        yield Broker(urlsplit(amqp_url)._replace(path=f"/{vhost}").geturl(), management_url, vhost)
    finally:
        management.delete_vhost(vhost)


@pytest.fixture
def mongo(mongod_uri: str) -> Iterator[Mongo]:
    with own_database(mongod_uri) as own:
        yield own


@contextmanager
def own_database(mongod_uri: str) -> Iterator[Mongo]:
    database = f"test_{uuid.uuid4().hex[:12]}"
    yield Mongo(mongod_uri, database)
    with MongoClient[dict[str, object]](mongod_uri) as client:
        client.drop_database(database)


@pytest.fixture
async def supplier() -> AsyncIterator[SupplierSimulator]:
    """A real HTTP supplier."""
    simulator = SupplierSimulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
async def system(
    request: pytest.FixtureRequest, broker: Broker, mongo: Mongo, supplier: SupplierSimulator, tmp_path: Path
) -> AsyncIterator[System]:
    """Broker, store and supplier of this test's own, and workers as processes when it starts them."""
    async with running_system(
        amqp_url=broker.amqp_url,
        mongodb_uri=mongo.uri,
        database=mongo.database,
        supplier=supplier,
        folder=tmp_path,
    ) as running:
        running.cold = request.node.get_closest_marker("cold") is not None
        yield running


_BETWEEN = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that need a browser between the others: several browsers at once overload two cores."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    with_browser = [path for path in files if path.parent.name == "browser"]
    order = [path for path in files if path not in with_browser]
    for place, path in enumerate(with_browser):
        order.insert(place * (_BETWEEN + 1), path)
    items[:] = [item for path in order for item in files[path]]
