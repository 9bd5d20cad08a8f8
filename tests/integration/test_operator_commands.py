"""`logistics status`, `topology` and `doctor` as processes, against real servers that are well, away or different."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from infra.local.mongod import PrivateMongod
from infra.local.ports import accepts, free_ports
from tests.support.command import Ran, run
from tests.support.system import System, eventually

NAMES = {
    "orders",
    "orders.retry",
    "orders.dead-letter",
    "orders.work",
    "orders.retry.200ms",
    "orders.retry.500ms",
    "orders.retry.1s",
    "orders.dlq",
    "shipments",
    "shipments.retry",
    "shipments.delivered",
    "shipments.retry.200ms",
    "shipments.retry.500ms",
    "shipments.retry.1s",
}


@pytest.fixture
def nobody() -> str:
    """Where nobody listens, with a login."""
    return f"somebody:s3cret-Pa55word@127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def standalone_mongod(tmp_path: Path) -> Iterator[str]:
    """The URI of a mongod that is no replica set."""
    folder = tmp_path / "standalone"
    folder.mkdir()
    server = PrivateMongod(folder)
    [(command, variables)] = server.prepare()
    at = list(command).index("--replSet")
    process = subprocess.Popen(
        [*command[:at], *command[at + 2 :]],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not accepts(server.ports[0]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"mongodb://127.0.0.1:{server.ports[0]}/"
    finally:
        process.kill()
        process.wait()


async def drift(system: System) -> None:
    """Declare orders.retry.1s by hand with another TTL, and leave a message in it."""
    await system.channel.declare_queue(
        "orders.retry.1s", durable=True, arguments={"x-queue-type": "quorum", "x-message-ttl": 3_600_000}
    )
    message = aio_pika.Message(b"{}", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await system.channel.default_exchange.publish(message, "orders.retry.1s", timeout=10)


def fits(ran: Ran) -> bool:
    return all(len(line) <= 80 for line in ran.out.splitlines())


# status


async def test_status_of_a_healthy_system_says_so_and_shows_its_figures(system: System) -> None:
    worker = await system.start_worker()
    await system.publish_order("o-1")
    await system.shipped("o-1")
    await eventually(lambda: system.db.workers.count_documents({"connected": True, "intake_limit": {"$gt": 0}}))
    ran = await run(system.environment(), "status", "--json")
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    assert document["problems"] == []
    assert [(queue["name"], queue["ready"], queue["consumers"]) for queue in document["queues"]] == [
        ("orders.work", 0, 1),
        ("shipments.delivered", 0, 1),
        ("orders.dlq", 0, 1),
    ]
    assert document["delayed"] == document["delayed_notices"] == {"200ms": 0, "500ms": 0, "1s": 0}
    assert document["shipments"] == {"SHIPPED": 1}
    assert document["oldest_waiting"]["in_words"] == "none waiting"
    [shown] = document["workers"]
    assert (shown["circuit"], shown["lost"], shown["connected"], shown["intake_limit"]) == ("closed", False, True, 100)
    assert str(worker.pid) in shown["name"]

    ran = await run(system.environment(), "status")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("All is well.")
    assert "SHIPPED 1" in ran.out
    assert fits(ran)


async def test_status_tells_an_open_circuit_and_its_countdown(system: System) -> None:
    await system.start_worker(LOGISTICS_BREAKER_RECOVERY_TIMEOUT="1h", LOGISTICS_BREAKER_FAILURE_THRESHOLD="1")
    system.supplier.change(outage=True)
    await system.publish_order("o-1")
    # First it opens for the second of the supplier's Retry-After, and after a probe for the hour.
    for_an_hour = {"circuit": "open", "circuit_retry_after": {"$gt": 60, "$lt": 3599}}
    await eventually(lambda: system.db.workers.count_documents(for_an_hour))
    ran = await run(system.environment(), "status")
    assert ran.code == 0
    assert re.search(r"! circuit open for \d+ s on 1 of 1 worker: supplier answers HTTP 503", ran.words)
    assert "next try in 59 min" in ran.words
    assert "no consumer on orders.work" not in ran.words
    assert fits(ran)


async def test_status_tells_open_dead_letters_by_reason(system: System) -> None:
    await system.start_worker()
    system.supplier.change(refusal_rate=1.0)
    await system.publish(b"not an order")
    await system.publish(b"{}")
    await system.publish_order("o-1")
    await eventually(lambda: len(system.letters(state="open")) == 3)
    ran = await run(system.environment(), "status", "--json")
    assert ran.document["problems"] == ["3 dead letters open: malformed 2, supplier_rejected 1"]
    assert ran.document["dead_letters"] == {"open": 3}


async def test_status_leaves_a_stopped_worker_out_but_keeps_its_bound_of_the_oldest_order(system: System) -> None:
    worker = await system.start_worker()
    await system.publish_order("o-1")
    await system.shipped("o-1")
    await eventually(lambda: system.db.workers.count_documents({"waiting_since": {"$ne": None}}))
    assert await worker.terminate() == 0
    await system.publish_order("o-2")
    ran = await run(system.environment(), "status", "--json")
    assert ran.code == 0
    assert ran.document["workers"] == []
    assert ran.document["oldest_waiting"]["in_words"].startswith("at most ")
    assert 0 <= ran.document["oldest_waiting"]["at_most"] < 30
    assert ran.document["problems"] == [
        "no consumer on orders.work: 1 message waiting; 'logistics worker' is one",
        "no consumer on shipments.delivered; 'logistics worker' is one",
        "no consumer on orders.dlq; 'logistics worker' is one",
    ]


async def test_status_does_not_know_the_oldest_order_before_any_worker_has_reported(system: System) -> None:
    assert (await run(system.environment(), "topology", "declare")).code == 0
    await system.publish_order("o-1")
    ran = await run(system.environment(), "status")
    assert "unknown (no worker has reported)" in ran.words
    assert "Workers: none has reported" in ran.words


async def test_status_shows_the_store_while_the_broker_is_away(system: System, nobody: str) -> None:
    system.db.shipments.insert_one({"order_id": "o-1", "status": "FAILED"})
    environment = system.environment(LOGISTICS_AMQP_URL=f"amqp://{nobody}/")
    ran = await run(environment, "status", "--json")
    assert (ran.code, ran.err) == (1, "")
    assert list(ran.document["unreachable"]) == ["RabbitMQ"]
    assert ran.document["problems"][0].startswith("RabbitMQ is not reachable: ")
    assert ran.document["shipments"] == {"FAILED": 1}
    ran = await run(environment, "status")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("! RabbitMQ is not reachable: ")
    assert "FAILED 1" in ran.out
    assert fits(ran)


async def test_status_shows_the_queues_while_the_store_is_away(system: System, nobody: str) -> None:
    assert (await run(system.environment(), "topology", "declare")).code == 0
    environment = system.environment(LOGISTICS_MONGODB_URI=f"mongodb://{nobody}/", LOGISTICS_STORE_TIMEOUT="1s")
    ran = await run(environment, "status", "--json")
    assert (ran.code, ran.err) == (1, "")
    assert list(ran.document["unreachable"]) == ["MongoDB"]
    assert ran.document["queues"][0]["ready"] == 0
    assert ran.document["workers"] is None
    ran = await run(environment, "status")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith("! MongoDB does not answer: ")
    assert "Workers: not known: MongoDB is not reachable" in ran.out
    assert fits(ran)


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["topology", "verify"], ["topology", "declare"]])
async def test_a_missing_or_wrong_setting_is_one_line_and_wrong_use(command: list[str]) -> None:
    ran = await run({}, *command)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("logistics: LOGISTICS_AMQP_URL is not set")
    assert ran.err.count("\n") == 1
    ran = await run({"LOGISTICS_AMQP_URL": "http://u:s3cret-Pa55word@broker"}, *command)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("logistics: wrong setting: LOGISTICS_AMQP_URL: write it as amqp://")
    assert ran.err.count("\n") == 1


# topology


async def test_verify_tells_what_is_missing_and_creates_nothing(system: System) -> None:
    for _ in range(2):
        ran = await run(system.environment(), "topology", "verify", "--json")
        assert (ran.code, ran.err) == (1, "")
        assert {(difference["name"], difference["problem"]) for difference in ran.document["differences"]} == {
            (name, "is missing") for name in NAMES
        }


async def test_declare_creates_what_is_missing_once(system: System) -> None:
    ran = await run(system.environment(), "topology", "declare", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["ok"] is True
    assert set(ran.document["created"]) == NAMES
    ran = await run(system.environment(), "topology", "declare")
    assert (ran.code, ran.out) == (0, "Everything was there already.\n")
    ran = await run(system.environment(), "topology", "verify", "--json")
    assert (ran.code, ran.document) == (0, {"ok": True, "differences": []})
    ran = await run(system.environment(), "topology", "verify")
    assert (ran.code, ran.out) == (0, "All 5 exchanges and 9 queues are as they should be.\n")


async def test_declare_restores_a_binding_that_was_removed(system: System) -> None:
    await run(system.environment(), "topology", "declare")
    queue = await system.channel.get_queue("orders.work", ensure=False)
    await queue.unbind("orders", "order.#")
    assert (await run(system.environment(), "topology", "declare")).code == 0
    await system.publish_order("o-1")
    await eventually(lambda: system.depth("orders.work"))


async def test_a_queue_that_differs_is_told_and_neither_deleted_nor_the_rest_half_declared(system: System) -> None:
    await drift(system)
    ran = await run(system.environment(), "topology", "declare", "--json")
    assert (ran.code, ran.err) == (1, "")
    assert ran.document["created"] == []
    [difference] = ran.document["differences"]
    assert difference["name"] == "orders.retry.1s"
    assert difference["problem"].startswith("queue orders.retry.1s: ")
    assert "LOGISTICS_RETRY_DELAYS=200ms,500ms" in difference["remedy"]
    ran = await run(system.environment(), "topology", "verify")
    assert (ran.code, ran.err) == (1, "")
    assert "queue orders.retry.1s: " in ran.out
    assert "are lost unless you move them first" in ran.out
    assert "orders.work is missing" in ran.out
    assert await system.depth("orders.retry.1s") == 1


async def test_the_named_delays_that_fit_are_a_way_out(system: System) -> None:
    await drift(system)
    environment = system.environment(LOGISTICS_RETRY_DELAYS="200ms,500ms")
    assert (await run(environment, "topology", "declare")).code == 0
    assert (await run(environment, "topology", "verify")).code == 0


async def test_topology_without_a_broker_is_one_line(nobody: str) -> None:
    for command in ("declare", "verify"):
        ran = await run({"LOGISTICS_AMQP_URL": f"amqp://{nobody}/"}, "topology", command, "--json")
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith("logistics: RabbitMQ is not reachable: ")
        assert ran.err.count("\n") == 1


# doctor


async def test_doctor_finds_nothing_wrong_and_leaves_nothing_behind(system: System) -> None:
    await run(system.environment(), "topology", "declare")
    ran = await run(system.environment(), "doctor", "--json")
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    assert document["ok"] is True
    areas = [finding["area"] for finding in document["findings"] if finding["verdict"] == "ok"]
    assert areas == ["broker", "topology", "store", "supplier", "timing"]
    assert document["findings"][0]["text"].startswith("RabbitMQ ")
    settings = {line["variable"]: line for line in document["settings"]}
    assert settings["LOGISTICS_AMQP_URL"]["source"] == "set"
    assert ":***@" in settings["LOGISTICS_AMQP_URL"]["value"]
    assert settings["LOGISTICS_PREFETCH"]["source"] == "default"
    assert system.db.workers.count_documents({}) == 0
    assert system.supplier.requests() == []

    ran = await run(system.environment(), "doctor")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("No problem found.\n")
    assert fits(ran)


async def test_doctor_warns_of_a_broker_without_our_queues_and_still_succeeds(system: System) -> None:
    ran = await run(system.environment(), "doctor")
    assert ran.code == 0
    assert "warning missing: orders" in ran.words
    assert "run 'logistics topology declare'" in ran.words
    assert ran.out.endswith("0 problems, 1 warning\n")


async def test_doctor_tells_a_queue_that_differs(system: System) -> None:
    await drift(system)
    ran = await run(system.environment(), "doctor")
    assert ran.code == 1
    assert "problem queue orders.retry.1s: " in ran.words
    assert fits(ran)


async def test_doctor_tells_everything_that_is_away_at_once(nobody: str) -> None:
    environment = {
        "LOGISTICS_AMQP_URL": f"amqp://{nobody}/",
        "LOGISTICS_MONGODB_URI": f"mongodb://{nobody}/",
        "LOGISTICS_SUPPLIER_URL": f"http://{nobody}",
    }
    started = time.monotonic()
    ran = await run(environment, "doctor", "--json")
    assert time.monotonic() - started < 12
    assert (ran.code, ran.err) == (1, "")
    wrong = {finding["area"] for finding in ran.document["findings"] if finding["verdict"] == "problem"}
    assert wrong == {"broker", "store", "supplier"}
    assert all(finding["advice"] for finding in ran.document["findings"] if finding["verdict"] == "problem")


async def test_doctor_tells_a_login_that_is_refused_and_a_vhost_that_is_not_there(system: System) -> None:
    url = system.amqp_url
    refused = await run(system.environment(LOGISTICS_AMQP_URL=url.replace("://", "://not-")), "doctor")
    assert (refused.code, "RabbitMQ refuses the user, password or vhost" in refused.words) == (1, True)
    no_vhost = await run(system.environment(LOGISTICS_AMQP_URL=f"{url}-not-there"), "doctor")
    assert (no_vhost.code, "does not open the vhost of LOGISTICS_AMQP_URL" in no_vhost.words) == (1, True)


async def test_doctor_gives_each_missing_and_wrong_setting_a_line(system: System) -> None:
    environment = {
        "LOGISTICS_AMQP_URL": "broker:s3cret",
        "LOGISTICS_MONGODB_URI": system.mongodb_uri,
        "LOGISTICS_MONGODB_DATABASE": system.database,
        "LOGISTICS_PREFETCH": "-1",
        "LOGISTICS_SUPLIER_URL": "http://127.0.0.1:1",
    }
    ran = await run(environment, "doctor")
    assert (ran.code, ran.err) == (1, "")
    assert "s3cret" not in ran.out
    assert "problem LOGISTICS_AMQP_URL: write it as amqp://" in ran.words
    assert "problem LOGISTICS_SUPPLIER_URL: is not set" in ran.words
    assert "problem LOGISTICS_PREFETCH: Input should be greater than or equal to 1" in ran.words
    assert "LOGISTICS_SUPLIER_URL is set, but nothing reads it -> did you mean LOGISTICS_SUPPLIER_URL?" in ran.words
    assert "ok MongoDB " in ran.words
    assert ran.out.endswith("3 problems, 1 warning\n")


async def test_doctor_warns_of_a_standalone_mongodb(system: System, standalone_mongod: str) -> None:
    ran = await run(system.environment(LOGISTICS_MONGODB_URI=standalone_mongod), "doctor", "--json")
    [store] = [finding for finding in ran.document["findings"] if finding["area"] == "store"]
    assert store["verdict"] == "warning"
    assert "names no replica set" in store["text"]
    assert ran.code == 0
