"""Several virtual hosts, each with queues and workers of its own, and one store: the way past one queue's leader."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.management import Management
from infra.supplier.simulator import SupplierSimulator
from tests.conftest import Broker
from tests.support.command import replay_everything, run
from tests.support.system import System, eventually, running_system


@pytest.fixture
async def second(system: System, broker: Broker, supplier: SupplierSimulator, tmp_path: Path) -> AsyncIterator[System]:
    """The same store and supplier, on a virtual host of its own."""
    login, vhost = urlsplit(broker.amqp_url), f"test-{uuid.uuid4().hex[:12]}"
    management = Management(urlsplit(broker.management_url).port or 0, login.username or "", login.password or "")
    management.add_vhost(vhost)
    folder = tmp_path / "second"
    folder.mkdir()
    try:
        async with running_system(
            amqp_url=login._replace(path=f"/{vhost}").geturl(),
            mongodb_uri=system.mongodb_uri,
            database=system.database,
            supplier=supplier,
            folder=folder,
        ) as running:
            yield running
    finally:
        management.delete_vhost(vhost)


async def test_orders_of_two_virtual_hosts_are_shipped_into_one_store_once_each(system: System, second: System) -> None:
    hosts = system, second
    workers = [await host.start_worker() for host in hosts]
    for number in range(40):
        await hosts[number % 2].publish_order(f"o-{number}")
    for host in hosts:
        await host.publish_order("o-both")  # whichever way an order comes, it is the same order
    await system.shipped(*(f"o-{number}" for number in range(40)), "o-both")
    await eventually(lambda: sum(len(worker.events("order.duplicate")) for worker in workers) == 1)
    stats = system.supplier.stats()
    assert (stats["distinct_idempotency_keys"], stats["double_dispatches"]) == (41, 0)
    assert all([await worker.terminate() == 0 for worker in workers])


async def test_a_dead_letter_of_one_virtual_host_is_replayed_by_a_worker_of_another(
    system: System, second: System
) -> None:
    system.supplier.change(rules=[{"match": "o-1", "refuse": True}])
    first = await system.start_worker()
    await system.publish_order("o-1")
    await eventually(lambda: system.letters(state="open"))
    assert await first.terminate() == 0
    system.supplier.change(rules=[])
    worker = await second.start_worker()
    await replay_everything(second.environment())
    await eventually(lambda: system.letters(state="resolved"))
    assert system.status("o-1") == "SHIPPED"
    shown = await run(second.environment(), "status", "--json")
    assert len([each for each in shown.document["workers"] if not each["lost"]]) == 1
    assert await worker.terminate() == 0
