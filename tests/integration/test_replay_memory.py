"""A replay job needs no more memory for many letters than for few."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.mongodb.letter_documents import letter_document
from tests.support.command import run
from tests.support.letters import a_letter
from tests.support.many import put_many, seconds_from, text
from tests.support.system import System, eventually

LETTERS, WARM = 8_000, 2_000


def put_letters(system: System, count: int) -> None:
    """Store open dead letters of 2 kB."""
    order = text("many-", digits=6)
    body = json.dumps({"order_id": "many-000000", "destination": "Oslo", "note": "x" * 1900}).encode()
    changes = {
        "_id": text("00000000-0000-4000-8000-", digits=12),
        "order_id": order,
        "trace_id": order,
        "dead_lettered_at": seconds_from(datetime.now(UTC) - timedelta(seconds=count), step=1),
        "revision": 0,
    }
    put_many(system.db.dead_letters, letter_document(a_letter(body=body)), range(count), changes)


def memory_of(pid: int) -> int:
    """Return how much memory a process has in use, in kB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.cold
async def test_a_job_of_many_letters_needs_no_more_memory_than_one_of_few(system: System) -> None:
    prepared = await system.start_worker()  # exchanges, queues, indexes
    assert await prepared.terminate() == 0
    put_letters(system, LETTERS)
    runner = await system.start_worker("--consumers", "replays", wait=False)
    pace = ("--canary", "0", "--start-rate", "1000", "--rate", "1000", "--in-flight", "100000")
    started = await run(system.environment(), "replay", "start", "--all", "--why", "all of them", "--yes", *pace)
    assert started.code == 0, started

    def sent() -> int:
        return system.db.replay_items.count_documents({"state": "sent"})

    await eventually(lambda: sent() >= WARM, timeout=40.0, every=0.2)
    after_few = memory_of(runner.pid)
    await eventually(lambda: sent() == LETTERS, timeout=90.0, every=0.5)
    after_many = memory_of(runner.pid)
    assert after_many < 1.15 * after_few, f"{after_few} kB after {WARM} letters, {after_many} kB after {LETTERS}"
    assert await system.depth("orders.work") == LETTERS
