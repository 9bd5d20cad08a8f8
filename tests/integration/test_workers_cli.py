"""`logistics workers` as a program on a real store; what workers make of the wishes is in the acceptance tests."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from tests.conftest import Mongo
from tests.support.command import Ran, run

WHY = ("--why", "supplier migration")
NASTY = "vm-$where'; \x1b[2J drop"


@dataclass
class Desk:
    """A store with workers' reports in it, and an operator at the keyboard."""

    mongo: Mongo
    client: MongoClient[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.client = MongoClient(self.mongo.uri, tz_aware=True)
        self.db = self.client[self.mongo.database]

    async def run(self, *arguments: str, **changes: str) -> Ran:
        settings = {
            "LOGISTICS_MONGODB_URI": self.mongo.uri,
            "LOGISTICS_MONGODB_DATABASE": self.mongo.database,
            "LOGISTICS_OPERATOR": "anna",
        }
        return await run({**settings, **changes}, "workers", *arguments)

    def report(self, name: str, *, revision: int = 10**6, age: float = 0.0, **fields: Any) -> None:
        """Have a worker report as it does; unless told otherwise it carries out at once what comes."""
        seen_at = datetime.now(UTC) - timedelta(seconds=age)
        report = {"version": "0.1.0", "circuit": "closed", "connected": True, "in_flight": {"orders.work": 3}}
        control = {"revision": revision, "paused": False, "prefetch": 100, "circuit_held_open": None}
        document = {**report, "seen_at": seen_at, "started_at": seen_at, "control": control, **fields}
        self.db.workers.replace_one({"_id": name}, document, upsert=True)

    @property
    def wishes(self) -> list[dict[str, Any]]:
        found = self.db.worker_controls.find_one() or {"wishes": []}
        return list(found["wishes"])


@pytest.fixture
def desk(mongo: Mongo) -> Iterator[Desk]:
    made = Desk(mongo)
    yield made
    made.client.close()


async def test_what_is_held_back_stands_on_top_of_the_workers_with_who_since_when_and_why(desk: Desk) -> None:
    desk.report("vm-1")
    desk.report("vm-2", revision=0)
    desk.report("files", in_flight={"orders.dlq": 0})
    ran = await desk.run("pause", "vm-1", "vm-2", *WHY)
    assert (ran.code, ran.out) == (1, "Paused: 1 of 2 workers; vm-2 has not answered yet\n")
    listed = await desk.run("list")
    assert listed.code == 0
    assert listed.out.startswith("! taking orders is paused on vm-1, vm-2 (vm-2: not yet) by anna since ")
    assert ": supplier migration; 'logistics workers resume NAME' ends it" in listed.words
    assert [line.split()[0] for line in listed.out.splitlines()[-3:]] == ["files", "vm-1", "vm-2"]
    document = (await desk.run("list", "--json")).document
    assert [worker["name"] for worker in document["workers"]] == ["files", "vm-1", "vm-2"]
    assert [(wish["action"], wish["worker"], wish["by"]) for wish in document["control"]["wishes"]] == [
        ("pause", "vm-1", "anna"),
        ("pause", "vm-2", "anna"),
    ]
    assert len(document["held_back"]) == 1
    assert (await desk.run("list", "-q")).out == "files\nvm-1\nvm-2\n"


async def test_without_a_worker_a_wish_of_all_is_kept_for_those_that_start(desk: Desk) -> None:
    ran = await desk.run("pause", "--all", *WHY)
    assert (ran.code, ran.out) == (0, "No worker runs that takes orders. The wish is kept for those that start.\n")
    listed = await desk.run("list")
    assert listed.out.startswith("! taking orders is paused on all workers by anna")
    assert "No worker has reported" in listed.out


async def test_what_was_done_can_be_read_by_a_program_or_not_at_all(desk: Desk) -> None:
    desk.report("vm-1")
    ran = await desk.run("prefetch", "12", "--all", *WHY, "--json", "--by", "ben")
    assert (ran.code, ran.document) == (0, {"revision": 1, "done": ["vm-1"], "not_answered": []})
    assert (desk.wishes[0]["prefetch"], desk.wishes[0]["by"]) == (12, "ben")
    ran = await desk.run("prefetch", "default", "vm-1", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


async def test_every_action_stands_in_the_audit_log_the_refused_ones_too(desk: Desk) -> None:
    desk.report("vm-1")
    for arguments in (("circuit", "open", "--all", *WHY), ("circuit", "reset", "vm-1"), ("pause", "nobody", *WHY)):
        await desk.run(*arguments)
    found = list(desk.db.audit_log.find({"action": {"$exists": True}}).sort("at"))
    assert [(entry["action"], entry["what"]) for entry in found] == [
        ("workers.circuit.open", "all workers"),
        ("workers.circuit.reset", "worker vm-1"),
        ("workers.pause", "worker nobody"),
    ]
    ends = [desk.db.audit_log.find_one({"_id": f"{entry['_id']}:end"}) or {} for entry in found]
    assert [str(end["result"]).partition(":")[0] for end in ends] == ["done", "done", "refused"]


async def test_a_name_is_a_name_whatever_it_looks_like_and_moves_no_cursor(desk: Desk) -> None:
    desk.report(NASTY)
    desk.report("vm-1")
    ran = await desk.run("pause", NASTY, "--why", "\x1b[31m$why")
    assert ran.code == 0
    assert [wish["worker"] for wish in desk.wishes] == [NASTY]
    for printed in (ran.out, (await desk.run("list")).out, (await desk.run("list", "-q")).out):
        assert "\x1b" not in printed
        assert "\\x1b[2J drop" in printed
    assert (await desk.run("list", "--json")).document["control"]["wishes"][0]["worker"] == NASTY


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pause", *WHY), "say which workers"),
        (("pause", "vm-1", "--all", *WHY), "say which workers"),
        (("pause", "--all"), "say why, for everybody to see"),
        (("pause", "--all", "--why", " "), "say why, for everybody to see"),
        (("circuit", "open", "--all"), "say why, for everybody to see"),
        (("prefetch", "0", "--all", *WHY), "'0' is no prefetch: write a number from 1 to 10000"),
        (("prefetch", "10001", "--all", *WHY), "is no prefetch"),
        (("prefetch", "99999999999999999999", "--all", *WHY), "is no prefetch"),
        (("prefetch", "\N{SUPERSCRIPT TWO}", "--all", *WHY), "is no prefetch"),
        (("prefetch", "-5", "--all", *WHY), "No such option"),
        (("list", "-q", "--json"), "exclude each other"),
    ],
)
async def test_wrong_use_is_told_and_changes_nothing(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    ran = await desk.run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert desk.wishes == []


async def test_a_name_that_no_worker_has_and_a_store_that_is_away_are_one_line(desk: Desk) -> None:
    desk.report("vm-1")
    ran = await desk.run("pause", "vm-7", *WHY)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "logistics: no worker that takes orders is called 'vm-7'; there are: vm-1\n"
    ran = await desk.run("list", LOGISTICS_MONGODB_URI="mongodb://127.0.0.1:1/", LOGISTICS_STORE_TIMEOUT="1s")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


async def test_what_a_newer_version_wishes_is_left_out_and_the_rest_counts(desk: Desk) -> None:
    desk.report("vm-1")
    await desk.run("pause", "--all", *WHY)
    newer = {**desk.wishes[0], "action": "dance", "tempo": 120}
    changed = {"wishes": [{**desk.wishes[0], "until": datetime.now(UTC)}, newer]}
    desk.db.worker_controls.update_one({}, {"$set": changed})
    document = (await desk.run("list", "--json")).document
    assert [wish["action"] for wish in document["control"]["wishes"]] == ["pause"]
    assert (await desk.run("resume", "--all")).code == 0


async def test_operators_at_once_are_all_heard(desk: Desk) -> None:
    for name in ("vm-1", "vm-2", "vm-3", "vm-4"):
        desk.report(name)
    ran = await asyncio.gather(*(desk.run("pause", name, *WHY) for name in ("vm-1", "vm-2", "vm-3", "vm-4")))
    assert [each.code for each in ran] == [0] * 4
    assert sorted(wish["worker"] for wish in desk.wishes) == ["vm-1", "vm-2", "vm-3", "vm-4"]
