"""`logistics replay` as a program on a real store; what workers make of the jobs is in the acceptance tests."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from infra.mongodb.letter_documents import letter_document
from tests.conftest import Mongo
from tests.support.command import Ran, command_environment, run
from tests.support.letters import a_letter
from tests.support.system import PROJECT, eventually
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterState

WHY = ("--why", "the supplier is mended")


@dataclass
class Desk:
    """A store, and an operator at the keyboard."""

    mongo: Mongo
    client: MongoClient[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.client = MongoClient(self.mongo.uri, tz_aware=True)
        self.db = self.client[self.mongo.database]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LOGISTICS_MONGODB_URI": self.mongo.uri,
            "LOGISTICS_MONGODB_DATABASE": self.mongo.database,
            "LOGISTICS_OPERATOR": "anna",
        }

    def put(self, *letters: DeadLetterRecord) -> None:
        for letter in letters:
            self.db.dead_letters.insert_one({"_id": letter.id, **letter_document(letter), "revision": 0})

    async def replay(self, *arguments: str) -> Ran:
        return await run(self.environment, "replay", *arguments)

    async def started(self, *arguments: str) -> dict[str, Any]:
        ran = await self.replay("start", *arguments, *WHY, "--yes", "--json")
        assert ran.code == 0, ran
        document: dict[str, Any] = ran.document
        return document


@pytest.fixture
async def desk(mongo: Mongo) -> AsyncIterator[Desk]:
    desk = Desk(mongo)
    yield desk
    desk.client.close()


async def test_a_dry_run_shows_kinds_what_is_left_alone_and_what_is_hopeless_and_changes_nothing(desk: Desk) -> None:
    desk.put(a_letter(), a_letter(), a_letter(reason="malformed", fingerprint="mmm"))
    desk.put(a_letter(state=DeadLetterState.RESOLVED))
    ran = await desk.replay("start", "--all", "--dry-run")
    assert ran.code == 0
    assert "To be replayed: 3 (2 supplier_rejected, 1 malformed)" in ran.words
    assert "1 first as a canary, then 1 a second growing to 20 a second, to where they came from" in ran.words
    assert "Left alone: 1 resolved (only open ones are replayed)" in ran.words
    assert "Beware: 1 malformed ones fail again" in ran.words
    assert desk.db.replays.count_documents({}) == 0
    machine = (await desk.replay("start", "--all", "--dry-run", "--json")).document
    assert (machine["would_replay"], machine["left_alone"], machine["hopeless"]) == (3, {"resolved": 1}, 1)


async def test_a_started_job_is_stored_listed_shown_and_says_that_no_worker_is_there(desk: Desk) -> None:
    desk.put(a_letter(), a_letter())
    ran = await desk.replay("start", "--all", *WHY, "--yes")
    assert ran.code == 0
    assert "No worker runs replay jobs now" in ran.err
    job = desk.db.replays.find_one()
    assert job is not None
    assert f"Job {job['_id']} started. Watch it: logistics replay show {job['_id']} --follow" in ran.out
    assert (await desk.replay("list", "-q")).out == f"{job['_id']}\n"
    assert "the supplier is mended" in (await desk.replay("list")).words
    shown = await desk.replay("show", job["_id"][:4])
    assert f"job {job['_id']} state selecting" in shown.words
    assert (await desk.replay("show", job["_id"], "--json")).document["by"] == "anna"


async def test_a_second_job_is_refused_and_named_what_is_in_the_way(desk: Desk) -> None:
    desk.put(a_letter(), a_letter())
    job = await desk.started("--all")
    second = await desk.replay("start", "--all", *WHY, "--yes")
    assert second.code == 1
    assert second.out == ""  # no plan of what will not be
    assert f"the replay job {job['id']} of anna is active (selecting; the supplier is mended)" in second.err


async def test_a_job_is_paused_resumed_and_cancelled_and_the_audit_log_tells_by_whom_and_why(desk: Desk) -> None:
    desk.put(a_letter(), a_letter())
    job = (await desk.started("--all"))["id"]
    assert (await desk.replay("pause", job, "--why", "a look", "--json")).document["state"] == "paused"
    assert (await desk.replay("resume", job, "--json")).document["state"] == "selecting"
    assert (await desk.replay("cancel", job, "--by", "ben", "--json")).document["state"] == "cancelled"
    late = await desk.replay("resume", job)
    assert late.code == 1
    assert f"the replay job {job} is cancelled: it cannot resume now" in late.err
    audit = (await run(desk.environment, "audit", "--action", "replay", "--json")).document["entries"]
    assert [(entry["action"], entry["who"]) for entry in reversed(audit)] == [
        ("replay.start", "anna"),
        ("replay.pause", "anna"),
        ("replay.resume", "anna"),
        ("replay.cancel", "ben"),
        ("replay.resume", "anna"),
    ]
    of_job = await run(desk.environment, "audit", "--job", job[:4], "--json")
    assert of_job.document["entries"] == list(audit)
    unknown = await run(desk.environment, "audit", "--job", "beef")
    assert (unknown.code, "no single replay job has an id that begins with 'beef'" in unknown.err) == (1, True)
    assert (await run(desk.environment, "audit", "--action", "tidy")).code == 2


async def test_the_rate_of_a_job_is_changed_and_the_audit_log_tells_from_what_to_what(desk: Desk) -> None:
    desk.put(a_letter())
    job = (await desk.started("--all"))["id"]
    assert (await desk.replay("rate", job[:8], "50", "--why", "the supplier is well")).code == 0
    assert (await desk.replay("show", job, "--json")).document["options"]["rate"] == 50
    audit = (await run(desk.environment, "audit", "--action", "replay.rate", "--json")).document["entries"]
    assert [(entry["who"], entry["why"], entry["what"]) for entry in audit] == [
        ("anna", "the supplier is well", f"job {job}: 20 → 50 letters a second")
    ]
    assert (await desk.replay("rate", job, "0")).code == 2
    await desk.replay("cancel", job)
    refused = await desk.replay("rate", job, "10")
    assert refused.code == 1
    assert f"the replay job {job} is over: it has no rate any more" in refused.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("start", *WHY), "say which: IDs, filters such as --group or --since, or --all"),
        (("start", "--all", "--yes"), "say why, for the audit log"),
        (("start", "--all", "--group", "g", *WHY), "--all means all"),
        (("start", "--all", *WHY), "2 dead letters would be replayed: confirm with --yes"),
        (("start", "--all", "--rate", "0", *WHY), "Invalid value for '--rate'"),
        (("start", "--all", "--to-key", "k", "--yes", *WHY), "--to-exchange and --to-key go together"),
        (("start", "--all", "--wait", "soon", *WHY), "Invalid value for '--wait'"),
        (("list", "-q", "--json"), "--quiet and --json exclude each other"),
    ],
)
async def test_wrong_use_is_said_and_starts_nothing(desk: Desk, arguments: tuple[str, ...], says: str) -> None:
    desk.put(a_letter(), a_letter())
    ran = await desk.replay(*arguments)
    assert ran.code == 2
    assert says in ran.err
    assert desk.db.replays.count_documents({}) == 0


async def test_what_is_not_there_is_said_with_where_to_look(desk: Desk) -> None:
    letter = a_letter(state=DeadLetterState.RESOLVED)
    desk.put(letter)
    nothing_open = await desk.replay("start", letter.id, *WHY)
    assert nothing_open.code == 1
    assert "none of these dead letters is open (1 resolved)" in nothing_open.err
    assert "no dead letter matches" in (await desk.replay("start", "--group", "none", *WHY)).err
    assert "'logistics replay list' shows those there are" in (await desk.replay("show", "beef")).err
    assert "No replay job yet" in (await desk.replay("list")).out


async def test_the_end_of_watching_is_not_the_end_of_the_job(desk: Desk, tmp_path: Path) -> None:
    desk.put(a_letter(), a_letter())
    job = (await desk.started("--all"))["id"]
    log = tmp_path / "watching"
    watching = watch(desk, job, log)
    await eventually(lambda: b"selecting" in log.read_bytes())
    watching.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(watching.wait, 10) == 1
    assert f"The job goes on. To halt it: logistics replay pause {job}" in log.read_text()
    stored = desk.db.replays.find_one({"_id": job})
    assert stored is not None
    assert stored["state"] == "selecting"


def watch(desk: Desk, job: str, log: Path) -> "subprocess.Popen[bytes]":
    """Start watching a job, what it prints going to a file."""
    command = [sys.executable, "-m", "worker", "replay", "show", job, "--follow"]
    with log.open("wb") as stream:
        return subprocess.Popen(
            command, env=command_environment(desk.environment), stdout=stream, stderr=stream, cwd=PROJECT
        )
