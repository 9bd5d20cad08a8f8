"""`logistics schema --asyncapi` and the real broker: queues made by the document are ours, messages are as it says."""

from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractChannel

from infra.rabbitmq.topology import Topology
from infra.rabbitmq.topology_check import differences
from tests.support.asyncapi import faults_of
from tests.support.command import run
from tests.support.console_office import put_letters
from tests.support.letters import a_letter
from tests.support.system import System, eventually
from worker.domain.retry import Delay

DELAYS = "2s,1h"
WITHOUT_SERVERS = {"LOGISTICS_RETRY_DELAYS": DELAYS}


async def the_faults(channel: AbstractChannel, document: object, queue: str) -> tuple[int, list[str]]:
    """How many messages a queue holds, and what is not as the document says."""
    found, faults = 0, []
    declared = await channel.get_queue(queue)
    while (message := await declared.get(fail=False)) is not None:
        found += 1
        faults += faults_of(document, queue, message.headers, message.body)  # type: ignore[arg-type] # it is a mapping
    return found, faults


async def test_a_client_that_declares_what_the_document_says_gets_the_worker_s_queues(system: System) -> None:
    document = (await run(WITHOUT_SERVERS, "schema", "--asyncapi")).document
    for name, channel in document["channels"].items():
        amqp = channel["bindings"]["amqp"]
        if amqp["is"] == "routingKey":
            await system.channel.declare_exchange(name, ExchangeType(amqp["exchange"]["type"]), durable=True)
    for name, channel in document["channels"].items():
        amqp = channel["bindings"]["amqp"]
        if amqp["is"] == "queue":
            queue = await system.channel.declare_queue(name, durable=True, arguments=amqp["x-arguments"])
            for binding in channel["x-bound-to"]:
                await queue.bind(binding["exchange"], binding["routingKey"])
    topology = Topology([Delay.parse(delay) for delay in DELAYS.split(",")])
    assert await differences(topology, system.amqp_url) == []


async def test_what_a_worker_sends_is_as_the_document_says(system: System) -> None:
    system.settings["LOGISTICS_RETRY_DELAYS"] = "1h"
    system.supplier.change(rules=[{"match": "no-*", "refuse": True}, {"match": "later-*", "status": 500}])
    document = (await run(system.environment(), "schema", "--asyncapi")).document
    await system.start_worker("--consumers", "orders,delivered")
    await system.publish_order("later-1", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "x-shop": "Ø"})
    await system.publish_order("no-1")
    await system.publish(b"no order", headers={"x-shop": 7})
    await eventually(lambda: has(system, "orders.retry.1h", 1))
    await eventually(lambda: has(system, "orders.dlq", 2))
    exchange = await system.channel.get_exchange("shipments", ensure=False)
    notice = Message(b'{"order_id": "later-1", "delivered_at": "2026-03-01T12:00:00Z"}')
    await exchange.publish(notice, "shipment.delivered", mandatory=True, timeout=10)
    await eventually(lambda: has(system, "shipments.retry.1h", 1))
    assert await the_faults(system.channel, document, "shipments.retry.1h") == (1, [])
    assert await the_faults(system.channel, document, "orders.retry.1h") == (1, [])
    assert await the_faults(system.channel, document, "orders.dlq") == (2, [])


async def test_what_is_published_and_what_is_sent_again_is_as_the_document_says(system: System) -> None:
    system.settings["LOGISTICS_RETRY_DELAYS"] = "1h"
    environment = system.environment()
    document = (await run(environment, "schema", "--asyncapi")).document
    assert (await run(environment, "topology", "declare")).code == 0
    letter = a_letter()
    put_letters(system.db, letter)
    for command in (
        ("publish", "--order-id", "o-1", "--destination", "Oslo"),
        ("dead-letters", "edit", letter.id, "--set", "destination=Bergen", "--why", "moved", "--yes"),
    ):
        ran = await run(environment, *command)
        assert ran.code == 0, ran
    assert await the_faults(system.channel, document, "orders.work") == (2, [])


async def has(system: System, queue: str, number: int) -> bool:
    return await system.depth(queue) == number
