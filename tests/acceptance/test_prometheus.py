"""A real Prometheus scrapes a worker, a console and an overview's file, takes the alert rules, and alerts fire."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aiohttp import ClientError, web

from infra.console.access.roles import Role
from infra.local.ports import free_ports
from tests.support.command import run
from tests.support.console import running_console, write_users
from tests.support.dashboard import expressions
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.system import PROJECT, System, eventually

RULES = PROJECT / "deploy" / "prometheus" / "alerts.yml"


def impatient(rules: str) -> str:
    """The rules with each `for` cut to a second and five minutes of an open circuit to two seconds."""
    shortened = re.sub(r"(?m)^(\s+for): \S+$", r"\1: 1s", rules)
    return shortened.replace("max(logistics_circuit_open_seconds) > 300", "max(logistics_circuit_open_seconds) > 2")


@asynccontextmanager
async def serving(page: Path) -> AsyncIterator[str]:
    """Serve a file as node_exporter's textfile collector would; yield its address."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(page)

    application = web.Application()
    application.router.add_get("/metrics", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}/metrics"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_console(system: System, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Run a console that wants a sign-in; yield its `host:port` and a reader's token."""
    token, users = write_users(folder / "users")[Role.READER], {"LOGISTICS_CONSOLE_USERS_FILE": str(folder / "users")}
    with running_console(system.environment(**users), folder / "console.log") as console:
        await console.started()
        yield console.url.removeprefix("http://"), token


async def is_up(prometheus: Prometheus) -> bool:
    try:
        return await prometheus.query("count(up == 1)") == [3]
    except ClientError:
        return False


async def is_firing(prometheus: Prometheus, name: str) -> bool:
    return name in await prometheus.firing()


async def test_a_real_prometheus_scrapes_a_worker_and_the_alerts_fire(system: System, tmp_path: Path) -> None:
    worker = await system.start_worker(LOGISTICS_BREAKER_FAILURE_THRESHOLD="1", LOGISTICS_RETRY_DELAYS="30s")
    health = worker.events("worker.started")[0]["health"].removeprefix("http://")
    page, rules = tmp_path / "logistics.prom", tmp_path / "alerts.yml"
    rules.write_text(impatient(RULES.read_text()))
    await overview(system, page)
    async with serving(page) as address, a_console(system, tmp_path) as (console, token):
        jobs = {
            "logistics-worker": f"{health}/metrics",
            "logistics-overview": address,
            "logistics-console": f"{console}/metrics",
            "nobody": f"{console}/metrics",
        }
        tokens = {"logistics-console": token}
        with running_prometheus(tmp_path, jobs=jobs, rules=rules, tokens=tokens) as prometheus:
            await eventually(lambda: is_up(prometheus))
            await eventually(partial(prometheus.query, 'up{job="nobody"} == 0'))  # a console tells it nothing
            for _ in range(7):
                await system.publish(b"no order")
            await eventually(lambda: is_firing(prometheus, "LogisticsDeadLettersRising"))
            system.supplier.change(outage=True)
            await system.publish_order("o-1")
            await eventually(lambda: is_firing(prometheus, "LogisticsCircuitOpen"))
            await overview(system, page)
            await eventually(lambda: prometheus.query('logistics_dead_letters_open{reason="malformed"} == 7'))
            for of_console in ('dead_letters_open{reason="malformed"', 'server_reachable{server="rabbitmq"'):
                await eventually(partial(prometheus.query, f'logistics_{of_console},job="logistics-console"}} > 0'))
            assert all(rule["health"] == "ok" for rule in await prometheus.rules())
            answered = [expression for expression in expressions() if await prometheus.query(expression)]
            assert len(answered) > 30  # those about a replay job and what is not well have nothing to tell
            firing = await prometheus.firing()
            assert set(firing) == {"LogisticsDeadLettersRising", "LogisticsCircuitOpen"}
            assert firing["LogisticsCircuitOpen"].startswith("The supplier has not worked for ")
            worker.kill()
            await eventually(lambda: is_firing(prometheus, "LogisticsWorkerDown"))


async def test_the_overview_page_is_printed_too_and_says_which_server_is_away(system: System) -> None:
    await system.start_worker()
    ran = await run(system.environment(), "metrics", "--json")
    ready = {"name": "logistics_queue_consumers", "labels": {"queue": "orders.dlq"}, "value": 1.0}
    assert ran.code == 0
    assert ready in ran.document
    nobody = f"mongodb://127.0.0.1:{free_ports(1)[0]}/?replicaSet=rs0&serverSelectionTimeoutMS=500"
    ran = await run(system.environment(LOGISTICS_MONGODB_URI=nobody, LOGISTICS_STORE_TIMEOUT="1s"), "metrics")
    assert ran.code == 0
    assert 'logistics_server_reachable{server="mongodb"} 0.0' in ran.out.splitlines()
    assert 'logistics_server_reachable{server="rabbitmq"} 1.0' in ran.out.splitlines()
    assert "logistics_dead_letters" not in ran.out


async def test_a_page_that_cannot_be_written_is_said_in_one_line(system: System, tmp_path: Path) -> None:
    ran = await run(system.environment(), "metrics", "--output", str(tmp_path / "nowhere" / "logistics.prom"))
    assert ran.code == 1
    assert ran.err.startswith("Error: cannot write")
    assert len(ran.err.splitlines()) == 1


async def overview(system: System, page: Path) -> None:
    written = await run(system.environment(), "metrics", "--output", str(page))
    assert (written.code, written.out, written.err) == (0, "", "")
