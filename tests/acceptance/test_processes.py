"""`logistics worker --processes N`: several worker processes that are started, watched and drained as one."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.proxy import proxy_to_broker
from tests.support.system import PROJECT, System, WorkerProcess, eventually

pytestmark = [pytest.mark.cold, pytest.mark.timeout(90)]


class Supervisor:
    """A supervisor, by its log and its health address."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.worker = worker

    def pids(self) -> dict[int, int]:
        """The pid of the process started last in each place."""
        return {line["number"]: line["child"] for line in self.worker.events("process.started")}

    async def get(self, path: str) -> tuple[int, str]:
        address = self.worker.events("supervisor.started")[0]["health"]
        async with aiohttp.ClientSession() as session, session.get(f"{address}{path}") as response:
            return response.status, await response.text()

    async def are_ready(self, count: int) -> bool:
        return await self.get("/readyz") == (200, f"{count} of {count} processes: ok\n")


async def start(system: System, processes: int, **changes: str) -> Supervisor:
    worker = await system.start_worker("--processes", str(processes), wait=False, **changes)
    supervisor = Supervisor(worker)
    await eventually(lambda: worker.events("supervisor.started"))
    await eventually(lambda: supervisor.are_ready(processes), every=0.2)
    return supervisor


def runs(pid: int) -> bool:
    """Whether the process is there, as something other than a zombie that waits for its parent."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def shipped_once(system: System, orders: list[str]) -> None:
    stats = system.supplier.stats()
    assert {s["order_id"] for s in system.db.shipments.find({"status": "SHIPPED"})} == set(orders)
    assert (stats["distinct_idempotency_keys"], stats["dispatches"]) == (len(orders), len(orders))
    assert stats["double_dispatches"] == 0
    assert system.letters() == []


async def test_a_process_killed_under_load_comes_back_and_no_order_is_lost_or_dispatched_twice(system: System) -> None:
    system.supplier.change(latency=0.2)
    supervisor = await start(system, 2, LOGISTICS_PREFETCH="10")
    orders = [f"o-{number}" for number in range(200)]
    for order in orders[:100]:
        await system.publish_order(order)
    killed = supervisor.pids()[2]
    os.kill(killed, signal.SIGKILL)
    for order in orders[100:]:
        await system.publish_order(order)
    await eventually(lambda: supervisor.pids()[2] != killed)
    await system.shipped(*orders)
    await eventually(lambda: supervisor.are_ready(2), every=0.2)
    (ended,) = supervisor.worker.events("process.ended")
    assert (ended["number"], ended["how"], ended["in_a_row"]) == (2, "killed by SIGKILL", 1)
    assert 0.2 <= ended["next_start_in"] <= 0.5
    page = (await supervisor.get("/metrics"))[1].splitlines()
    assert 'logistics_process_restarts_total{process="2"} 1.0' in page
    assert 'logistics_process_restarts_total{process="1"} 0.0' in page
    assert await supervisor.worker.terminate() == 0
    shipped_once(system, orders)


async def test_one_signal_drains_all_processes(system: System) -> None:
    system.supplier.change(latency=1.0)
    supervisor = await start(system, 2, LOGISTICS_PREFETCH="5")
    orders = [f"o-{number}" for number in range(10)]
    for order in orders:
        await system.publish_order(order)
    await eventually(lambda: len(system.supplier.requests()) == 10)
    assert await supervisor.worker.terminate() == 0
    assert len(supervisor.worker.events("worker.drained")) == 2
    assert not any(runs(pid) for pid in supervisor.pids().values())
    shipped_once(system, orders)
    assert system.supplier.stats()["requests"] == 10
    assert await system.depth("orders.work") == 0


async def test_a_second_signal_ends_all_processes_at_once(system: System) -> None:
    system.supplier.change(latency=20.0)
    supervisor = await start(system, 2, LOGISTICS_DRAIN_TIMEOUT="30s", LOGISTICS_SUPPLIER_TIMEOUT="30s")
    await system.publish_order("slow")
    await eventually(lambda: system.supplier.requests())
    supervisor.worker.process.send_signal(signal.SIGINT)
    await eventually(lambda: len(supervisor.worker.events("worker.draining")) == 2)
    await asyncio.sleep(0.2)  # two at the same moment are one wish
    supervisor.worker.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(supervisor.worker.process.wait, 10) == 128 + signal.SIGINT
    await eventually(lambda: not any(runs(pid) for pid in supervisor.pids().values()), timeout=5)


async def test_processes_end_with_a_supervisor_that_is_killed(system: System) -> None:
    supervisor = await start(system, 2)
    supervisor.worker.kill()
    await eventually(lambda: not any(runs(pid) for pid in supervisor.pids().values()), timeout=5)


async def test_health_and_metrics_are_those_of_all_processes(system: System) -> None:
    supervisor = await start(system, 2, LOGISTICS_PREFETCH="1")
    system.supplier.change(latency=0.1)
    orders = [f"o-{number}" for number in range(20)]
    for order in orders:
        await system.publish_order(order)
    await system.shipped(*orders)
    assert await supervisor.get("/livez") == (200, "process 1: ok\nprocess 2: ok\n")
    page = (await supervisor.get("/metrics"))[1]
    shipped = re.findall(r'logistics_deliveries_total{detail="shipped".*process="(\d)".*} (\S+)', page)
    assert sorted(number for number, _ in shipped) == ["1", "2"]
    assert sum(float(count) for _, count in shipped) == len(orders)
    assert page.count("# TYPE logistics_deliveries_total counter") == 1


async def test_a_frozen_process_is_not_live_and_the_other_one_is_ready(system: System) -> None:
    supervisor = await start(system, 2)
    frozen = supervisor.pids()[1]
    os.kill(frozen, signal.SIGSTOP)
    try:
        live, ready = await asyncio.gather(supervisor.get("/livez"), supervisor.get("/readyz"))
        assert live == (503, "process 1: no answer\nprocess 2: ok\n")
        assert ready == (200, "1 of 2 processes: ok\n")
    finally:
        os.kill(frozen, signal.SIGCONT)
    await eventually(lambda: supervisor.are_ready(2))


async def test_while_the_broker_is_away_one_process_waits_for_it_and_then_all_work(system: System) -> None:
    async with proxy_to_broker(system.amqp_url, listening=False) as proxy:
        worker = await system.start_worker("--processes", "2", wait=False, LOGISTICS_AMQP_URL=proxy.url)
        supervisor = Supervisor(worker)
        await eventually(lambda: worker.events("broker.unreachable"))
        assert (await supervisor.get("/livez"))[0] == 200
        status, said = await supervisor.get("/readyz")
        assert (status, said.splitlines()[1]) == (503, "process 2: not running, or not yet answering")
        assert "orders.work: not connected to RabbitMQ" in said.splitlines()[0]
        assert list(supervisor.pids()) == [1]
        await proxy.listen()
        await eventually(lambda: supervisor.are_ready(2), every=0.2)
        await system.publish_order("o-1")
        await system.shipped("o-1")
        assert await worker.terminate() == 0


async def test_queues_that_differ_end_it_with_one_clear_line(system: System) -> None:
    arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-message-ttl": 5}
    await system.channel.declare_queue("orders.retry.200ms", durable=True, arguments=arguments)
    worker = await system.start_worker("--processes", "3", wait=False)
    await eventually(lambda: worker.process.poll() is not None)
    assert worker.process.returncode == 1
    said = [line for line in worker.log.read_text().splitlines() if not line.startswith("{")]
    assert len(said) == 1
    assert said[0].startswith("logistics: queue orders.retry.200ms: x-")


def test_a_missing_address_ends_it_with_one_clear_line(tmp_path: Path) -> None:
    done = run_in(tmp_path, LOGISTICS_PROCESSES="3", LOGISTICS_HEALTH_ADDR="127.0.0.1:0")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert [line.partition(":")[2].partition(":")[0] for line in said] == [" LOGISTICS_AMQP_URL is not set"]


async def test_one_process_is_the_worker_itself(system: System) -> None:
    worker = await system.start_worker("--processes", "1")
    assert worker.events("supervisor.started") == []
    assert not any(line["pid"] != worker.pid for line in worker.lines())
    assert await worker.terminate() == 0


def run_in(folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run `logistics worker` in a folder without private servers, until it gives up."""
    return subprocess.run(
        [sys.executable, "-m", "worker", "worker"],
        env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
