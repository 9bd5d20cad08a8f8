"""The RabbitMQ users of docs/security.md, made by its own commands: each can do its work, and nothing else."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused

from infra.local.rabbitmq import PROGRAMS, PrivateRabbitMQ
from infra.supplier.simulator import SupplierSimulator
from tests.conftest import Mongo
from tests.support.command import run
from tests.support.messages import channel_of
from tests.support.system import PROJECT, System, eventually, running_system

PUBLISHER, NOTIFIER, WORKER, OPERATOR = (
    "orders-publisher",
    "shipments-notifier",
    "logistics-worker",
    "logistics-operator",
)
QUEUES = ("orders.work", "orders.dlq", "orders.retry.1s", "shipments.delivered", "invoices")
EXCHANGES = ("", "orders", "orders.retry", "orders.dead-letter", "shipments", "shipments.retry", "amq.topic")

Action = Callable[[AbstractChannel], Awaitable[object]]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The AMQP URL of each user of the documented commands, and of somebody who may do everything ("root")."""
    folder = tmp_path_factory.mktemp("users")
    server = PrivateRabbitMQ(folder / "rabbitmq")
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        urls = follow_the_documentation(server, folder)
        server.ctl("set_permissions", "-p", "logistics", urlsplit(server.amqp_url).username or "", ".*", ".*", ".*")
        urls["root"] = urlsplit(server.amqp_url)._replace(path="/logistics").geturl()
        yield urls


def follow_the_documentation(server: PrivateRabbitMQ, folder: Path) -> dict[str, str]:
    """Run the page's commands against this node, as they stand there; return each user's URL."""
    blocks = re.findall(r"```sh\n(.*?)```", (PROJECT / "docs" / "security.md").read_text(), re.DOTALL)
    (commands,) = [block for block in blocks if "rabbitmqctl" in block]
    passwords = {user: f"made-up-for-{user}" for user in re.findall(r"add_user (\S+)", commands)}
    for user, password in passwords.items():
        (folder / f"{user}.password").write_text(f"{password}\n")
    place = f"127.0.0.1:{urlsplit(server.amqp_url).port}/logistics"
    urls = {user: f"amqp://{user}:{password}@{place}" for user, password in passwords.items()}
    (folder / f"{WORKER}.url").write_text(f"{urls[WORKER]}\n")
    environment = server._environment()  # which names the node, too
    environment["PATH"] = f"{PROGRAMS}:{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = str(PROJECT)
    subprocess.run(["sh", "-eu", "-c", commands], cwd=folder, env=environment, check=True, capture_output=True)
    return urls


@pytest.fixture
async def system(
    urls: Mapping[str, str], mongo: Mongo, supplier: SupplierSimulator, tmp_path: Path
) -> AsyncIterator[System]:
    """A system whose workers are the worker's user, and whose queues somebody else can look into."""
    async with running_system(
        amqp_url=urls["root"], mongodb_uri=mongo.uri, database=mongo.database, supplier=supplier, folder=tmp_path
    ) as running:
        running.settings |= {"LOGISTICS_AMQP_URL": urls[WORKER], "LOGISTICS_RETRY_DELAYS": "200ms,500ms,1s"}
        await running.channel.declare_queue("invoices", durable=True)  # somebody else's
        yield running


async def test_a_worker_s_user_runs_the_whole_pipeline(urls: Mapping[str, str], system: System) -> None:
    """Orders, retries, dead letters, their replay, and delivery; published and told by users of their own."""
    worker = await system.start_worker()
    system.supplier.change(rules=[{"match": "retried", "fail_first": 1}, {"match": "refused", "refuse": True}])
    for order_id in ("first", "retried", "refused"):
        done = await run(
            system.environment(LOGISTICS_AMQP_URL=urls[PUBLISHER]),
            *("publish", "--order-id", order_id, "--destination", "Oslo"),
        )
        assert done.code == 0, done
    await system.shipped("first", "retried")
    await eventually(lambda: system.letters(order_id="refused", state="open"))

    system.supplier.change(rules=[])
    done = await run(
        system.environment(LOGISTICS_AMQP_URL=urls[OPERATOR]),
        *("replay", "start", "--order-id", "refused", "--yes", "--by", "tests", "--why", "mended"),
    )
    assert done.code == 0, done
    await system.shipped("refused")
    await eventually(lambda: system.letters(order_id="refused", state="resolved"))

    async with channel_of(urls[NOTIFIER]) as channel:
        await publish_to(
            "shipments", "shipment.delivered", b'{"order_id": "first", "delivered_at": "2026-03-01T14:05:00Z"}'
        )(channel)
    await eventually(lambda: system.status("first") == "DELIVERED")
    assert worker.events("broker.unreachable") == worker.events("settlement.held") == []
    assert await worker.terminate() == 0


async def test_an_operator_s_user_looks_at_everything_and_sends_an_edited_letter(
    urls: Mapping[str, str], system: System
) -> None:
    worker = await system.start_worker()
    system.supplier.change(rules=[{"match": "edited", "refuse": True}])
    await system.publish_order("edited")
    await eventually(lambda: system.letters(state="open"))
    system.supplier.change(rules=[])
    operator = system.environment(LOGISTICS_AMQP_URL=urls[OPERATOR])

    doctor = await run(operator, "doctor", "--json")
    assert doctor.code == 0, doctor
    (topology,) = [finding for finding in doctor.document["findings"] if finding["area"] == "topology"]
    assert topology["verdict"] == "note"
    assert "are there, as far as this user may see; it may not see how they differ" in topology["text"]
    status = await run(operator, "status")
    assert status.code == 0, status
    assert re.search(r"orders\.work +0 ", status.out), status
    (letter,) = system.letters()
    edit = ("dead-letters", "edit", letter["_id"], "--why", "moved", "--yes")
    elsewhere = await run(
        operator, *edit, "--set", "destination=Bergen", "--to-exchange", "orders.retry", "--to-key", "200ms"
    )
    assert elsewhere.code == 1
    assert "does not permit" in elsewhere.words + elsewhere.err
    assert system.letters()[0]["state"] == "open"
    edited = await run(operator, *edit, "--set", "destination=Narvik", "--wait", "20s")
    assert edited.code == 0, edited
    await system.shipped("edited")
    assert await worker.terminate() == 0


async def test_a_replay_to_where_the_worker_may_not_publish_fails_in_words_and_the_letter_stays_open(
    system: System,
) -> None:
    worker = await system.start_worker()
    system.supplier.change(rules=[{"match": "foreign", "refuse": True}])
    await system.publish_order("foreign", headers={"origin_exchange": "amq.topic", "origin_routing_key": "order.x"})
    await eventually(lambda: system.letters(state="open"))
    start = ("replay", "start", "--all", "--yes", "--by", "tests", "--why", "mended", "--wait", "10s")
    started = await run(system.environment(), *start)
    assert started.code == 1, started
    assert system.letters()[0]["state"] == "open"
    item = system.db.replay_items.find_one()
    assert item is not None
    assert item["state"] == "not_sent"
    assert "access to exchange 'amq.topic' in vhost 'logistics' refused" in item["why"]
    assert await worker.terminate() == 0


def publish_to(exchange: str, key: str, body: bytes = b"{}") -> Action:
    async def act(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(aio_pika.Message(body), key, mandatory=False, timeout=10)

    return act


def on_queue(method: str, queue: str) -> Action:
    async def act(channel: AbstractChannel) -> None:
        target = await channel.get_queue(queue, ensure=False)
        if method == "get":
            await target.get(fail=False, timeout=10)
        elif method == "consume":
            await target.consume(ignore)
        elif method == "purge":
            await target.purge()
        else:
            await target.delete(if_unused=False, if_empty=False)

    return act


async def ignore(_: AbstractIncomingMessage) -> None:
    pass


def declare_queue(name: str) -> Action:
    return lambda channel: channel.declare_queue(name, durable=True)


def declare_exchange(name: str) -> Action:
    return lambda channel: channel.declare_exchange(name, durable=True)


def delete_exchange(name: str) -> Action:
    return lambda channel: channel.exchange_delete(name)


def bind(queue: str, exchange: str) -> Action:
    async def act(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).bind(exchange, "#")

    return act


FORBIDDEN: dict[str, list[tuple[str, Action]]] = {
    "whoever only publishes": [
        *((f"{method} {queue}", on_queue(method, queue)) for method in ("get", "consume", "purge", "delete")
          for queue in QUEUES),
        *((f"declare {queue}", declare_queue(queue)) for queue in (*QUEUES, "new")),
        *((f"declare {name}", declare_exchange(name)) for name in ("orders", "shipments", "new")),
        *((f"delete {name}", delete_exchange(name)) for name in ("orders", "shipments", "orders.dead-letter")),
        *((f"bind {queue}", bind(queue, "orders")) for queue in QUEUES),
        *((f"publish to {name}", publish_to(name, "orders.work")) for name in EXCHANGES),
        ("publish another key", publish_to("orders", "order.cancelled")),
        ("publish another notice", publish_to("shipments", "shipment.lost")),
    ],
    PUBLISHER: [("publish a notice", publish_to("shipments", "shipment.delivered"))],
    NOTIFIER: [("publish an order", publish_to("orders", "order.placed"))],
    WORKER: [
        *((f"{method} invoices", on_queue(method, "invoices")) for method in ("get", "consume", "purge", "delete")),
        ("declare", declare_queue("invoices")),
        ("declare a new one", declare_queue("orders.other")),
        ("declare an exchange", declare_exchange("payments")),
        ("bind", bind("invoices", "orders")),
        ("publish elsewhere", publish_to("amq.topic", "x")),
        ("bind ours elsewhere", bind("orders.work", "amq.topic")),
    ],
}  # fmt: skip


@pytest.mark.parametrize("user", [PUBLISHER, NOTIFIER, OPERATOR, WORKER])
async def test_what_a_user_must_not_do_is_refused(urls: Mapping[str, str], system: System, user: str) -> None:
    declared = await run(system.environment(), "topology", "declare")
    assert declared.code == 0, declared
    common = [] if user == WORKER else FORBIDDEN["whoever only publishes"]
    done = [name for name, action in (*common, *FORBIDDEN.get(user, [])) if not await is_refused(urls[user], action)]
    assert done == []
    depths = [await system.depth(queue) for queue in QUEUES]
    assert depths == [0] * len(QUEUES)


async def is_refused(url: str, action: Action) -> bool:
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        channel = await connection.channel()
        try:
            await action(channel)
        except ChannelAccessRefused:
            return True
    return False


@pytest.mark.parametrize("user", [PUBLISHER, NOTIFIER, OPERATOR, WORKER])
async def test_a_user_has_no_other_virtual_host(urls: Mapping[str, str], user: str) -> None:
    with pytest.raises(aio_pika.exceptions.AMQPError):
        await aio_pika.connect(urlsplit(urls[user])._replace(path="/").geturl(), timeout=5)


async def test_a_user_that_may_not_publish_is_told_in_one_line_at_once(urls: Mapping[str, str], system: System) -> None:
    refused = system.environment(LOGISTICS_AMQP_URL=urls[NOTIFIER])
    done = await run(refused, "publish", "--order-id", "o-1", "--destination", "Oslo", "--give-up-after", "20s")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("logistics: RabbitMQ does not permit the user of LOGISTICS_AMQP_URL: ")
    assert "exchange 'orders'" in line
