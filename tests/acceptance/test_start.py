"""Starting a worker: what is wrong with the settings or the broker is one clear line, never a traceback."""

import subprocess
import sys
from pathlib import Path

import aio_pika
import pytest

from tests.support.system import PROJECT, System, eventually

pytestmark = pytest.mark.cold


def _start(environment: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `logistics worker` in a folder without private servers, until it gives up."""
    return subprocess.run(
        [sys.executable, "-m", "worker", "worker"],
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_missing_address_says_what_to_set(tmp_path: Path) -> None:
    done = _start({}, tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "logistics: LOGISTICS_AMQP_URL is not set: set it, or start private servers with 'make up' in this folder"
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOGISTICS_PREFETCH", "none"),
        ("LOGISTICS_PREFETCH", "0"),
        ("LOGISTICS_RETRY_DELAYS", "1s,soon"),
        ("LOGISTICS_SUPPLIER_TIMEOUT", "-1s"),
        ("LOGISTICS_AMQP_URL", "http://user:secret-word@localhost"),
        ("LOGISTICS_MONGODB_URI", "secret-word"),
        ("LOGISTICS_HEALTH_ADDR", "8081"),
        ("LOGISTICS_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_variable(tmp_path: Path, variable: str, value: str) -> None:
    done = _start({variable: value}, tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert variable in line
    assert "secret-word" not in line


async def test_a_queue_with_other_arguments_stops_the_start_and_is_named(system: System) -> None:
    await system.channel.declare_queue(
        "orders.retry.200ms", durable=True, arguments={"x-queue-type": "quorum", "x-message-ttl": 5}
    )
    worker = await system.start_worker(wait=False)
    await eventually(lambda: worker.process.poll() is not None)
    assert worker.process.returncode == 1
    last = worker.log.read_text().splitlines()[-1]
    assert last.startswith("logistics: queue orders.retry.200ms: x-")
    assert "logistics topology verify" in last


async def test_two_workers_without_a_health_address_do_not_fight_over_it(system: System) -> None:
    one = await system.start_worker(LOGISTICS_HEALTH_ADDR="")
    two = await system.start_worker(LOGISTICS_HEALTH_ADDR="")
    assert one.events("worker.started")[0]["health"] != two.events("worker.started")[0]["health"]


async def test_a_taken_health_address_is_one_clear_line(system: System) -> None:
    first = await system.start_worker()
    taken = first.events("worker.started")[0]["health"].removeprefix("http://")
    second = await system.start_worker(wait=False, LOGISTICS_HEALTH_ADDR=taken)
    await eventually(lambda: second.process.poll() is not None)
    assert second.process.returncode == 2
    assert f"cannot listen on {taken}" in second.log.read_text().splitlines()[-1]


async def test_a_single_consumer_takes_from_its_queue_alone(system: System) -> None:
    worker = await system.start_worker("--consumers", "dead-letters")
    await system.publish_order("waits")
    await system.channel.default_exchange.publish(aio_pika.Message(b"x"), "orders.dlq")
    await eventually(lambda: system.letters())
    assert await system.depth("orders.work") == 1
    assert worker.events("worker.started")[0]["queues"] == ["orders.dlq"]
