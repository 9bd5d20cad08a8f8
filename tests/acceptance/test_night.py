"""The night of docs/runbook.md, typed as it stands there: 5,000 dead letters of six kinds, and real servers."""

import asyncio
import json
import re
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from tests.support.command import command_environment
from tests.support.system import PROJECT, System, eventually

BUG, BUSY, SOUTH, BLANK, HAND, LATE = 1600, 400, 2000, 600, 200, 200
NORMAL = [{"match": "south-*", "refuse": True}, {"match": "bug-*", "status": 500}, {"match": "busy-*", "status": 429}]
BUG_MENDED = [rule for rule in NORMAL if rule["match"] != "bug-*"]
LIMIT_RAISED = [rule for rule in BUG_MENDED if rule["match"] != "busy-*"]
EXCEPTION_MADE = [{"match": "south-0007"}, *LIMIT_RAISED]
_STEP = re.compile(r"<!-- night: (.+?) -->\n```sh\n(.*?)```", re.DOTALL)
_AT_ONCE = 100


@dataclass(frozen=True)
class Typed:
    """What one command of a step printed, on standard output and standard error together, and its exit code."""

    command: str
    output: str
    code: int

    @property
    def words(self) -> str:
        """The output on one line, however it was wrapped."""
        return " ".join(self.output.split())


class Terminal:
    """A shell that stays open, as an operator's does, so that a step can use the variables of the one before."""

    def __init__(self, shell: asyncio.subprocess.Process) -> None:
        self._shell = shell

    async def types(self, commands: str) -> list[Typed]:
        """Type the commands of a step, one after the other."""
        return [await self._one(command) for command in commands.strip().splitlines()]

    async def _one(self, command: str) -> Typed:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\nprintf '\\n=== %s ===\\n' $?\n".encode())
        output = ""
        async with asyncio.timeout(100):
            while not (end := re.search(r"\n=== (\d+) ===\n$", output)):
                line = await self._shell.stdout.readline()
                assert line, f"the shell ended over {command!r}: {output}"
                output += line.decode()
        assert "Traceback" not in output, output
        return Typed(command, output[: end.start()], int(end[1]))


@asynccontextmanager
async def terminal(system: System) -> AsyncIterator[Terminal]:
    environment = command_environment(system.environment(LOGISTICS_OPERATOR="the operator"))
    programs = Path(sys.executable).parent
    shell = await asyncio.create_subprocess_exec(
        "sh",
        env={**environment, "PATH": f"{programs}:{environment['PATH']}", "COLUMNS": "160", "PYTHONPATH": str(PROJECT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1024 * 1024,
        cwd=PROJECT,
    )
    try:
        yield Terminal(shell)
    finally:
        if shell.stdin is not None:
            shell.stdin.close()
        await shell.wait()


def steps() -> dict[str, str]:
    """Return the commands of the night by the name of the step, in their order."""
    return dict(_STEP.findall((PROJECT / "docs" / "runbook.md").read_text()))


@pytest.mark.timeout(300)
async def test_the_night_of_the_runbook_ends_as_it_says(system: System) -> None:
    system.settings.update(
        LOGISTICS_MAX_ATTEMPTS="1",
        LOGISTICS_BREAKER_FAILURE_THRESHOLD="100000",
        LOGISTICS_RETRY_DELAYS="200ms",
    )
    await system.start_worker()
    await five_thousand_dead_letters(system)
    night = steps()
    checks: dict[str, Check] = {
        "look": looked,
        "understand": understood,
        "the canary fails": the_canary_failed,
        "the canary passes": the_canary_passed,
        "the first canary": the_first_canary_shipped,
        "throttled": the_throttled_shipped,
        "by hand": those_by_hand_shipped,
        "notices": the_notices_arrived,
        "stays broken": the_broken_are_discarded,
        "restore one": the_exception_shipped,
        "edit one": the_edited_shipped,
        "the end": all_is_told,
    }
    assert list(night) == list(checks), "the runbook and this test tell the same story"
    async with terminal(system) as shell:
        for name, check in checks.items():
            await before(system, name)
            await check(system, await shell.types(night[name]))
    await the_books_are_right(system)


Check = Callable[[System, list[Typed]], Awaitable[None]]


async def before(system: System, step: str) -> None:
    """What happens in the world before a step."""
    match step:
        case "the canary passes":
            system.supplier.change(rules=BUG_MENDED)
        case "throttled":
            system.supplier.change(rules=LIMIT_RAISED)
        case "notices":
            orders = [f"late-{number:04}" for number in range(LATE)]
            await publish(system, "orders", "order.placed", [order(name) for name in orders])
            await system.shipped(*orders)
        case "restore one":
            system.supplier.change(rules=EXCEPTION_MADE)


async def looked(system: System, typed: list[Typed]) -> None:
    del system
    status, groups, hours = typed
    assert "5,000 dead letters open" in status.words
    assert "5,000 dead letters in 6 groups" in groups.words
    assert "5,000 dead letters in" in hours.words


async def understood(system: System, typed: list[Typed]) -> None:
    del system
    assert "HTTP 500" in typed[-1].words
    assert "attempts_exhausted" in typed[-1].words


async def the_canary_failed(system: System, typed: list[Typed]) -> None:
    plan, start, _, show = typed
    assert (plan.code, start.code) == (0, 1)
    assert "To be replayed: 1,600 (1,600 attempts_exhausted)" in plan.words
    assert "1 first as a canary, then 100 a second growing to 300 a second" in start.words
    assert "the canary failed: SupplierOutcomeUnknownError: HTTP 500" in start.words
    assert "failed again" in show.words
    assert open_letters(system, "attempts_exhausted") == BUG + BUSY
    assert requests(system, "bug-") == BUG + 1


async def the_canary_passed(system: System, typed: list[Typed]) -> None:
    resume, show = typed
    assert resume.code == 0
    assert "done" in show.words
    assert show.code == 1, "one failed again: the first canary"
    job = system.db.replays.find_one(sort=[("created_at", -1)])
    assert job is not None
    assert (job["state"], job["round"]) == ("done", 2)
    assert shipped(system, "bug-") == BUG - 1


async def the_first_canary_shipped(system: System, typed: list[Typed]) -> None:
    assert typed[0].code == 0
    assert shipped(system, "bug-") == BUG
    assert requests(system, "bug-") == 2 * BUG + 1, "each was sent once, the first canary twice"


async def the_throttled_shipped(system: System, typed: list[Typed]) -> None:
    assert typed[-1].code == 0
    assert shipped(system, "busy-") == BUSY


async def those_by_hand_shipped(system: System, typed: list[Typed]) -> None:
    assert typed[0].code == 0
    assert shipped(system, "hand-") == HAND


async def the_notices_arrived(system: System, typed: list[Typed]) -> None:
    assert typed[0].code == 0
    delivered = system.db.shipments.count_documents({"status": "DELIVERED"})
    assert (delivered, shipped(system, "late-", status="DELIVERED")) == (LATE, LATE)


async def the_broken_are_discarded(system: System, typed: list[Typed]) -> None:
    start, cancel, discard = typed
    assert (start.code, cancel.code, discard.code) == (1, 0, 0)
    assert "the canary failed: SupplierRejectedError: HTTP 422" in start.words
    assert system.db.dead_letters.count_documents({"state": "discarded"}) == SOUTH
    assert requests(system, "south-") == SOUTH + 1


async def the_exception_shipped(system: System, typed: list[Typed]) -> None:
    assert [command.code for command in typed] == [0, 0, 0]
    assert shipped(system, "south-") == 1


async def the_edited_shipped(system: System, typed: list[Typed]) -> None:
    _, edit, original = typed
    assert (edit.code, original.code) == (0, 0)
    assert original.output == '{"order_id": "blank-0001"}'
    shipment = system.shipment("blank-0001")
    assert shipment is not None
    assert (shipment["status"], shipment["destination"]) == ("SHIPPED", "Oslo")


async def all_is_told(system: System, typed: list[Typed]) -> None:
    del system
    groups, jobs, audit, status = typed
    assert "599 dead letters in 1 group" in groups.words
    assert jobs.words.count("done") == 6
    for action in ("replay.start", "replay.stopped", "replay.resume", "replay.cancel", "discard", "restore", "edit"):
        assert action in audit.output
    assert "the operator" in audit.output
    assert "599 dead letters open: malformed 599" in status.words


async def the_books_are_right(system: System) -> None:
    """Broker, store and the supplier's own count agree on where each of the 5,000 is."""
    for queue in ("orders.work", "orders.dlq", "orders.retry.200ms", "shipments.delivered", "shipments.retry.200ms"):
        assert await system.depth(queue) == 0
    states = system.db.dead_letters.aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])
    resolved = BUG + BUSY + HAND + LATE + 2
    assert {row["_id"]: row["n"] for row in states} == {
        "resolved": resolved,
        "discarded": SOUTH - 1,
        "open": BLANK - 1,
    }
    stats = system.supplier.stats()
    assert (stats["dispatches"], stats["double_dispatches"]) == (resolved, 0)
    settled = system.db.shipments.count_documents({"status": {"$in": ["SHIPPED", "DELIVERED"]}})
    assert settled == resolved
    sums = system.db.replay_items.aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])
    counts = {row["_id"]: row["n"] for row in sums}
    assert counts == {"resolved": BUG + BUSY + HAND + LATE + 1, "failed_again": 2, "waiting": SOUTH - 1}


async def five_thousand_dead_letters(system: System) -> None:
    """Six kinds, each made as it comes about, by a worker that works as always."""
    system.supplier.change(rules=NORMAL, retry_after=None)
    names = {"bug": BUG, "busy": BUSY, "south": SOUTH}
    orders = [order(f"{name}-{number:04}") for name, count in names.items() for number in range(count)]
    blanks = [json.dumps({"order_id": f"blank-{number:04}"}).encode() for number in range(BLANK)]
    await publish(system, "orders", "order.placed", [*orders, *blanks])
    notices = [{"order_id": f"late-{number:04}", "delivered_at": "2026-03-01T12:00:00Z"} for number in range(LATE)]
    await publish(system, "shipments", "shipment.delivered", [json.dumps(notice).encode() for notice in notices])
    await publish(system, "orders.dead-letter", "", [order(f"hand-{number:04}") for number in range(HAND)])
    await eventually(
        lambda: system.db.dead_letters.count_documents({"state": "open"}) == 5000, timeout=120.0, every=0.5
    )


async def publish(system: System, exchange: str, key: str, bodies: list[bytes]) -> None:
    target = await system.channel.get_exchange(exchange, ensure=False)
    for start in range(0, len(bodies), _AT_ONCE):
        await asyncio.gather(*(target.publish(message(body), key) for body in bodies[start : start + _AT_ONCE]))


def message(body: bytes) -> aio_pika.Message:
    mode = aio_pika.DeliveryMode.PERSISTENT
    return aio_pika.Message(body, delivery_mode=mode, content_type="application/json", message_id=uuid.uuid4().hex)


def order(name: str) -> bytes:
    return json.dumps({"order_id": name, "destination": "Bergen"}).encode()


def open_letters(system: System, reason: str) -> int:
    return system.db.dead_letters.count_documents({"state": "open", "reason": reason})


def shipped(system: System, prefix: str, *, status: str = "SHIPPED") -> int:
    which: dict[str, Any] = {"order_id": {"$regex": f"^{prefix}"}, "status": status}
    return system.db.shipments.count_documents(which)


def requests(system: System, prefix: str) -> int:
    return sum(str(request["order_id"]).startswith(prefix) for request in system.supplier.requests(limit=100_000))
