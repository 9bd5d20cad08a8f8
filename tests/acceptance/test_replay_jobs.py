"""Replay jobs as an operator meets them: real broker, store and supplier, real processes, some of them killed."""

import asyncio
from typing import Any

import pytest

from tests.support.command import Ran, run
from tests.support.proxy import Direction, Predicate, contains, is_ack, is_publish, proxy_to_broker, proxy_to_store
from tests.support.system import System, WorkerProcess, eventually

RUNNER, OTHERS = ("--consumers", "replays"), ("--consumers", "orders,dead-letters")
REPLAYING = b" replay"
_AS_SENT = b"state\x00\x05\x00\x00\x00sent\x00"
"""A BSON field that says so."""


@pytest.fixture(autouse=True)
def settings(system: System) -> None:
    system.settings.update(
        LOGISTICS_STORE_TIMEOUT="2s",
        LOGISTICS_OPERATOR="anna",
        LOGISTICS_BREAKER_FAILURE_THRESHOLD="1000",
        LOGISTICS_MAX_ATTEMPTS="1",
    )


async def logistics(system: System, *arguments: str) -> Ran:
    return await run(system.environment(), *arguments)


async def start(system: System, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Start a job as an operator does; return its JSON document."""
    command = ("replay", "start", *arguments, "--why", "the supplier is mended", "--yes", "--json")
    ran = await logistics(system, *command)
    assert ran.code == code, ran
    document: dict[str, Any] = ran.document
    return document


async def shown(system: System, job: dict[str, Any]) -> dict[str, Any]:
    ran = await logistics(system, "replay", "show", job["id"], "--json")
    assert ran.code == 0, ran
    document: dict[str, Any] = ran.document
    return document


async def reaches(system: System, job: dict[str, Any], state: str, *, timeout: float = 40.0) -> dict[str, Any]:
    """Wait until the stored job is in a state; return it as `replay show` tells it."""
    await eventually(lambda: stored(system, job)["state"] == state, timeout=timeout)
    return await shown(system, job)


def stored(system: System, job: dict[str, Any]) -> dict[str, Any]:
    found = system.db.replays.find_one({"_id": job["id"]})
    assert found is not None
    return found


async def dead(system: System, *orders: str) -> None:
    """Have orders refused, which are dead letters then, and let the supplier forget that it was asked."""
    await system.channel.get_exchange("orders", ensure=False)
    before = len(system.letters())
    await asyncio.gather(*(system.publish_order(order) for order in orders))
    await eventually(lambda: len(system.letters(state="open")) == before + len(orders))


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number:03}" for number in range(count)]


def refuse(system: System, match: str = "*") -> None:
    system.supplier.change(rules=[{"match": match, "refuse": True}])


def mend(system: System) -> None:
    system.supplier.change(rules=[], outage=False)


def asked_for(system: System, order: str) -> int:
    return len(system.supplier.requests(order))


def states(system: System) -> dict[str, int]:
    found = system.db.dead_letters.aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])
    return {row["_id"]: row["n"] for row in found}


async def test_a_mended_supplier_resolves_every_letter_of_a_job_and_the_sum_is_true(system: System) -> None:
    await system.start_worker()
    refuse(system)
    orders = names("o", 40)
    await dead(system, *orders)
    mend(system)
    job = await start(system, "--all", "--start-rate", "20", "--rate", "100", "--wait", "30s")
    assert (job["state"], job["total"], job["resolved"]) == ("done", 40, 40)
    assert states(system) == {"resolved": 40}
    assert {asked_for(system, order) for order in orders} == {2}
    assert system.supplier.stats()["dispatches"] == 40
    assert {system.status(order) for order in orders} == {"SHIPPED"}
    one = system.letters()[0]
    assert one["job_id"] == job["id"]
    assert [event["event"] for event in one["history"]] == ["filed", "replayed", "taken", "resolved"]


async def test_a_supplier_that_is_still_broken_fails_the_canary_and_nothing_else_goes_out(system: System) -> None:
    await system.start_worker()
    refuse(system)
    orders = names("o", 30)
    await dead(system, *orders)
    job = await start(system, "--all", "--canary", "2", "--wait", "30s", code=1)
    assert job["state"] == "stopped"
    assert job["because"].startswith("the canary failed: SupplierRejectedError")
    assert (job["failed_again"], job["waiting"]) == (2, 28)
    assert states(system) == {"open": 30}
    again = system.letters(replay_count=1)
    assert len(again) == 2
    assert {letter["history"][-1]["job_id"] for letter in again} == {job["id"]}
    assert sum(asked_for(system, order) for order in orders) == 32


async def test_a_stopped_job_goes_on_with_a_canary_when_the_supplier_is_mended(system: System) -> None:
    await system.start_worker()
    refuse(system)
    await dead(system, *names("o", 10))
    job = await start(system, "--all", "--start-rate", "50", "--rate", "50", "--wait", "30s", code=1)
    mend(system)
    assert (await logistics(system, "replay", "resume", job["id"], "--why", "mended")).code == 0
    ended = await reaches(system, job, "done")
    assert (ended["resolved"], ended["failed_again"], ended["waiting"]) == (9, 1, 0)
    assert states(system) == {"resolved": 9, "open": 1}
    actions = [entry["action"] for entry in system.db.audit_log.find({"job_id": job["id"]}).sort("at")]
    assert actions == ["replay.start", "replay.stopped", "replay.resume", "replay.done"]


async def test_a_job_stops_by_itself_when_too_many_fail_again_in_the_same_way(system: System) -> None:
    await system.start_worker()
    refuse(system)
    await dead(system, *names("a-good", 15))
    await dead(system, *names("b-bad", 200))
    refuse(system, "b-bad-*")
    job = await start(system, "--all", "--start-rate", "20", "--rate", "20", "--wait", "40s", code=1)
    assert job["state"] == "stopped"
    assert "failed in the same way, more than 10%: SupplierRejectedError" in job["because"]
    ended = await reaches(system, job, "stopped")
    assert ended["resolved"] == 15
    assert 0 < ended["failed_again"] < 100, "it stopped long before the end"
    assert ended["waiting"] == 215 - 15 - ended["failed_again"] - ended["on_its_way"]


async def test_a_job_stops_when_the_circuit_opens_and_goes_on_when_it_closes(system: System) -> None:
    await system.start_worker(LOGISTICS_BREAKER_FAILURE_THRESHOLD="3", LOGISTICS_MAX_ATTEMPTS="10")
    refuse(system)
    await dead(system, *names("o", 120))
    mend(system)
    job = await start(system, "--all", "--start-rate", "10", "--rate", "10")  # slow: plenty is left when it opens
    await eventually(lambda: states(system).get("resolved", 0) > 5)
    system.supplier.change(outage=True)
    stopped = await reaches(system, job, "stopped")
    assert stopped["because"].startswith("the circuit to the supplier is open at worker")
    assert stopped["waiting"] > 0
    mend(system)
    await logistics(system, "replay", "resume", job["id"])
    ended = await reaches(system, job, "done")
    assert ended["resolved"] == 120
    assert system.supplier.stats()["double_dispatches"] == 0


async def test_workers_that_are_killed_again_and_again_leave_a_job_that_sends_each_letter_once(system: System) -> None:
    await system.start_worker(*OTHERS)
    refuse(system)
    orders = names("o", 150)
    await dead(system, *orders)
    mend(system)
    runner = await started_runner(system)
    job = await start(system, "--all", "--start-rate", "60", "--rate", "60")
    for resolved in (10, 50, 90):
        await eventually(lambda resolved=resolved: states(system).get("resolved", 0) >= resolved, every=0.01)
        runner.kill()
        runner = await started_runner(system)
    ended = await reaches(system, job, "done", timeout=90.0)
    assert (ended["total"], ended["resolved"]) == (150, 150)
    assert {asked_for(system, order) for order in orders} == {2}, "each letter went out once"


STEPS = [
    pytest.param("store", contains(b"dead_letters", b"claimed_at"), Direction.TO_SERVER, id="before its claim"),
    pytest.param("broker", is_publish, Direction.TO_SERVER, id="before its publish arrived"),
    pytest.param("broker", is_ack, Direction.TO_CLIENT, id="before its confirm came back"),
    pytest.param("store", contains(b"replay.confirmed_at"), Direction.TO_SERVER, id="before its confirm was noted"),
    pytest.param(
        "store", contains(b"replay_items", b"updates", _AS_SENT), Direction.TO_SERVER, id="before it was done"
    ),
]


@pytest.mark.parametrize(("where", "step", "direction"), STEPS)
async def test_a_runner_killed_at_any_step_sends_no_letter_twice_and_skips_none(
    system: System, where: str, step: Predicate, direction: Direction
) -> None:
    await system.start_worker(*OTHERS)
    refuse(system)
    orders = names("o", 5)
    await dead(system, *orders)
    mend(system)
    async with proxy_to_broker(system.amqp_url) as broker, proxy_to_store(system.mongodb_uri) as store:
        runner = await started_runner(
            system,
            LOGISTICS_AMQP_URL=broker.url,
            LOGISTICS_MONGODB_URI=store.url,
            LOGISTICS_STORE_TIMEOUT="20s",
        )
        proxy, name = (broker, REPLAYING) if where == "broker" else (store, b"")
        trap = proxy.hold_before(step, direction=direction, name=name)
        job = await start(system, "--all", "--canary", "0", "--start-rate", "50", "--rate", "50")
        await trap.springs()
        runner.kill()
        await broker.cut()
        await store.cut()
    await started_runner(system)
    ended = await reaches(system, job, "done", timeout=90.0)
    assert (ended["total"], ended["resolved"]) == (5, 5)
    assert {asked_for(system, order) for order in orders} == {2}, "each letter went out once"


async def test_a_copy_whose_confirm_is_lost_with_the_broker_connection_goes_out_once(system: System) -> None:
    await system.start_worker(*OTHERS)
    refuse(system)
    orders = names("o", 5)
    await dead(system, *orders)
    mend(system)
    async with proxy_to_broker(system.amqp_url) as broker:
        await started_runner(system, LOGISTICS_AMQP_URL=broker.url)
        trap = broker.hold_before(is_ack, direction=Direction.TO_CLIENT, name=REPLAYING)
        job = await start(system, "--all", "--canary", "0", "--start-rate", "50", "--rate", "50")
        await trap.springs()
        await broker.cut()
        ended = await reaches(system, job, "done", timeout=90.0)
    assert ended["resolved"] == 5
    assert {asked_for(system, order) for order in orders} == {2}


async def test_a_paused_job_sends_nothing_until_it_is_resumed_and_a_cancelled_one_never(system: System) -> None:
    await system.start_worker()
    refuse(system)
    await dead(system, *names("o", 60))
    mend(system)
    job = await start(system, "--all", "--start-rate", "10", "--rate", "10")
    await eventually(lambda: states(system).get("resolved", 0) >= 5)
    assert (await logistics(system, "replay", "pause", job["id"], "--why", "a look")).code == 0
    paused = await nothing_on_its_way(system, job)
    await asyncio.sleep(1.5)
    assert (await shown(system, job))["resolved"] == paused["resolved"]
    assert (await logistics(system, "replay", "resume", job["id"])).code == 0
    await eventually(lambda: states(system).get("resolved", 0) >= paused["resolved"] + 5)
    assert (await logistics(system, "replay", "cancel", job["id"], "--why", "enough")).code == 0
    cancelled = await nothing_on_its_way(system, job)
    assert cancelled["state"] == "cancelled"
    assert cancelled["resolved"] + cancelled["waiting"] == 60
    await asyncio.sleep(1.0)
    assert states(system) == {"resolved": cancelled["resolved"], "open": cancelled["waiting"]}


async def test_what_arrives_while_a_job_runs_is_said_and_left_and_a_second_job_is_refused(system: System) -> None:
    await system.start_worker()
    refuse(system)
    await dead(system, *names("o", 20))
    job = await start(system, "--reason", "supplier_rejected", "--canary", "0", "--rate", "2", "--stop-share", "100")
    await reaches(system, job, "ramp")
    await dead(system, *names("later", 3))
    running = await shown(system, job)
    assert (running["total"], running["arrived_since"]) == (20, 3)
    second = await logistics(system, "replay", "start", "--all", "--why", "me too", "--yes")
    assert second.code == 1
    assert f"the replay job {job['id']} of anna is active (ramp; the supplier is mended): one at a time" in second.err
    assert system.db.audit_log.count_documents({"action": "replay.start"}) == 1  # refused before it was begun
    assert not any(asked_for(system, order) > 1 for order in names("later", 3))


async def test_a_copy_that_nobody_takes_is_overdue_and_counted_when_it_is_taken_after_all(system: System) -> None:
    worker = await system.start_worker()
    refuse(system)
    await dead(system, "o-1")
    assert await worker.terminate() == 0
    mend(system)
    system.settings["LOGISTICS_REPLAY_OVERDUE"] = "2s"
    await started_runner(system)
    job = await start(system, "--all", "--canary", "0", "--rate", "50", "--start-rate", "50")
    late = await reaches(system, job, "done")
    assert (late["on_its_way"], late["overdue"]) == (1, 1)
    assert late["because"] == "it ended with 1 copies overdue: they had no outcome yet"
    await system.start_worker(*OTHERS)
    await system.shipped("o-1")
    await eventually(lambda: system.db.replay_items.find_one({"job": job["id"]})["state"] == "resolved")  # type: ignore[index]
    ended = await shown(system, job)
    assert (ended["resolved"], ended["overdue"]) == (1, 0)


async def test_a_redirected_copy_goes_where_it_is_told_and_the_loop_closes(system: System) -> None:
    await system.start_worker()
    refuse(system)
    await dead(system, "o-1", "o-2")
    mend(system)
    job = await start(
        system, "--all", "--to-exchange", "", "--to-key", "orders.work", "--rate", "50", "--start-rate", "50",
        "--wait", "30s",
    )  # fmt: skip
    assert (job["state"], job["resolved"]) == ("done", 2)


async def test_a_redirect_to_an_exchange_that_does_not_exist_sends_nothing_and_says_so(system: System) -> None:
    await system.start_worker()
    refuse(system)
    await dead(system, "o-1", "o-2")
    job = await start(system, "--all", "--to-exchange", "nowhere", "--to-key", "k", "--wait", "30s", code=1)
    assert job["state"] == "stopped"
    assert "the exchange 'nowhere' does not exist" in job["because"]
    assert (job["not_sent"], job["waiting"]) == (1, 1)
    assert states(system) == {"open": 2}


async def nothing_on_its_way(system: System, job: dict[str, Any]) -> dict[str, Any]:
    """Wait until every copy that is out has its outcome; return the job as `replay show` tells it."""
    out = {"job": job["id"], "state": {"$in": ["sent", "in_doubt"]}}
    await eventually(lambda: system.db.replay_items.count_documents(out) == 0)
    return await shown(system, job)


async def started_runner(system: System, **changes: str) -> WorkerProcess:
    """Start a worker that only performs replay jobs, and wait until it does."""
    runner = await system.start_worker(*RUNNER, wait=False, **changes)
    await eventually(lambda: runner.events("store.ready"))
    return runner
