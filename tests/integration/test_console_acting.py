"""What people do through the console's API, on a real store and broker."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from infra.console.access.roles import Role
from infra.rabbitmq.topology import Topology
from tests.conftest import Broker, Mongo
from tests.support.console_office import Office, an_office
from tests.support.letters import a_letter
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterState

WHY = "the supplier is mended"


@pytest.fixture
async def office(broker: Broker, mongo: Mongo, tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(broker, mongo, tmp_path) as opened:
        yield opened


def state_of(office: Office, letter: DeadLetterRecord) -> str:
    return str(office.db.dead_letters.find_one({"_id": letter.id})["state"])


async def audit(office: Office, **which: Any) -> list[tuple[str, str, str, Any]]:
    entries = (await office.document("/api/audit", **which))["entries"]
    return [(entry["who"], entry["action"], entry["why"], entry["count"]) for entry in reversed(entries)]


async def test_letters_are_discarded_and_restored_after_a_dry_run_that_says_how_many(office: Office) -> None:
    bad, good = a_letter(reason="malformed"), a_letter()
    office.put(bad, good)
    dry = await office.done("/api/triage/discard", reason="malformed", dry_run=True)
    assert (dry["matched"], dry["ids"], state_of(office, bad)) == (1, [bad.id], "open")
    stale = await office.post("/api/triage/discard", reason="malformed", why="test orders", expected=2)
    assert stale.status_code == 409
    assert "2 dead letters were expected, and now 1 match" in stale.json()["detail"]
    report = await office.done("/api/triage/discard", reason="malformed", why="test orders", expected=1)
    assert (report["discarded"], report["changed"]) == (1, 0)
    assert [state_of(office, letter) for letter in (bad, good)] == ["discarded", "open"]
    again = await office.post("/api/triage/discard", ids=[bad.id], why="again")
    assert (again.status_code, again.json()["detail"]) == (409, "none of these dead letters is open (1 discarded)")
    assert (await office.done("/api/triage/restore", ids=[bad.id], why="was real"))["restored"] == 1
    assert state_of(office, bad) == "open"
    assert await audit(office) == [
        ("operator-bot", "discard", "test orders", 1),
        ("operator-bot", "restore", "was real", 1),
    ]


@pytest.mark.parametrize("path", ["/api/triage/discard", "/api/triage/restore", "/api/replays"])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"why": WHY}, "say which: ids, filters such as group or since, or everything: true"),
        ({"everything": True, "group": "g", "why": WHY}, "everything means all"),
        ({"everything": True}, "say why, for the audit log"),
        ({"everything": True, "why": "  "}, "say why, for the audit log"),
        ({"everything": True, "why": f" {'w' * 1000}"}, "body.why: at most 1000 characters"),
        ({"ids": ["{'$ne': 1}"], "why": WHY}, "body.ids.0"),
        ({"group": {"$ne": ""}, "why": WHY}, "body.group"),
        ({"everything": True, "why": WHY, "sure": True}, "body.sure"),
    ],
)
async def test_what_is_not_clearly_meant_is_not_done(office: Office, path: str, body: Any, says: str) -> None:
    office.put(a_letter(), a_letter(state=DeadLetterState.DISCARDED))
    refused = await office.post(path, **body)
    assert refused.status_code == 422
    assert says in "\n".join(refused.json()["errors"])
    assert office.db.audit_log.count_documents({}) == 0


async def test_a_job_is_planned_started_steered_and_ended(office: Office) -> None:
    letter = a_letter()
    office.put(letter, a_letter(state=DeadLetterState.RESOLVED))
    plan = await office.done("/api/replays", everything=True, dry_run=True, rate=50)
    assert (plan["would_replay"], plan["left_alone"], plan["options"]["rate"]) == (1, {"resolved": 1}, 50)
    started = await office.post("/api/replays", everything=True, why=WHY, expected=1, canary=1)
    assert started.status_code == 201
    job = started.json()
    assert started.headers["location"] == f"/api/replays/{job['id']}"
    assert (job["state"], job["by"], job["why"]) == ("selecting", "operator-bot", WHY)
    second = await office.post("/api/replays", everything=True, why=WHY)
    assert second.status_code == 409
    assert f"the replay job {job['id']} of operator-bot is active" in second.json()["detail"]
    at = f"/api/replays/{job['id']}"
    assert (await office.done(f"{at}/pause", why="a look"))["state"] == "paused"
    assert (await office.done(f"{at}/rate", rate=5))["options"]["rate"] == 5
    assert (await office.done(f"{at}/resume"))["state"] == "selecting"
    assert (await office.done(f"{at}/cancel", why="enough"))["state"] == "cancelled"
    late = await office.post(f"{at}/resume")
    assert (late.status_code, "is cancelled: it cannot resume now" in late.json()["detail"]) == (409, True)
    assert (await office.document(at, letters=True))["letters"] == []
    assert [entry["id"] for entry in (await office.document("/api/replays"))["jobs"]] == [job["id"]]
    assert [action for _, action, _, _ in await audit(office, action="replay", job_id=job["id"])] == [
        *("replay.start", "replay.pause", "replay.rate", "replay.resume", "replay.cancel", "replay.resume")
    ]
    assert (await office.get("/api/replays/beef")).status_code == 404
    nothing = await office.post("/api/replays", group="none", why=WHY)
    assert (nothing.status_code, nothing.json()["detail"]) == (409, "no dead letter matches")
    for rate in (0, 1001, "fast"):
        assert (await office.post(f"{at}/rate", rate=rate)).status_code == 422


async def test_an_edit_is_checked_shown_and_sent_as_one_copy(office: Office, broker: Broker) -> None:
    await Topology().ensure(broker.amqp_url)
    letter = a_letter(body=b'{"order_id": "A-1", "destination": "Olso"}', order_id="A-1")
    office.put(letter)
    at = f"/api/dead-letters/{letter.id}"
    revision = (await office.document(at))["revision"]
    dry = await office.done(f"{at}/edit", revision=revision, fields={"destination": "Oslo"}, dry_run=True)
    assert '-  "destination": "Olso"' in dry["body_changes"]
    assert (dry["result"], state_of(office, letter)) == (None, "open")
    for body, says in (
        ({"body_text": '{"order_id": "B-2", "destination": "Oslo"}'}, "the order id may not change"),
        ({"body_text": "{"}, "the edited body is not valid"),
        ({"headers": {"attempt": "0"}}, "is locked"),
        ({}, "nothing changed"),
    ):
        refused = await office.post(f"{at}/edit", revision=revision, dry_run=True, **body)
        assert (refused.status_code, says in refused.json()["detail"]) == (422, True), refused.text
    new = base64.b64encode(b'{"order_id": "A-1", "destination": "Oslo"}').decode()
    sent = await office.done(f"{at}/edit", revision=revision, body_base64=new, why="typo")
    assert (sent["result"], sent["version"]) == ("sent", 1)
    outcome = await office.document(f"{at}/replays/{sent['replay_id']}")
    assert (outcome["outcome"], outcome["by"]) == ("on_its_way", "operator-bot")
    assert (await office.get(f"{at}/replays/{letter.id}")).status_code == 404
    raw = await office.get(f"{at}/body", Role.OPERATOR, version=0)
    assert raw.content == letter.body
    assert await audit(office) == [("operator-bot", "edit", "typo", 1)]


async def test_of_two_people_who_edit_the_same_letter_at_once_one_sends_and_the_other_is_told(
    office: Office, broker: Broker
) -> None:
    await Topology().ensure(broker.amqp_url)
    letter = a_letter(body=b'{"order_id": "A-1", "destination": "Olso"}', order_id="A-1")
    office.put(letter)
    revision = (await office.document(f"/api/dead-letters/{letter.id}"))["revision"]

    async def edit(role: Role, town: str) -> Any:
        path = f"/api/dead-letters/{letter.id}/edit"
        return await office.post(path, role, revision=revision, fields={"destination": town}, why=town)

    both = await asyncio.gather(edit(Role.OPERATOR, "Oslo"), edit(Role.ADMIN, "Bergen"))
    assert sorted(answer.status_code for answer in both) == [200, 409]
    (conflict,) = [answer.json() for answer in both if answer.status_code == 409]
    assert "is being replayed by" in conflict["detail"] or "changed since it was read" in conflict["detail"]
    late = await edit(Role.OPERATOR, "Narvik")
    assert (late.status_code, "is being replayed by" in late.json()["detail"]) == (409, True)
    stored = office.db.dead_letters.find_one({"_id": letter.id})
    assert (stored["version"], json.loads(stored["body"])["destination"] in {"Oslo", "Bergen"}) == (1, True)


async def test_while_the_broker_is_away_an_edit_is_refused_and_the_letter_stays_as_it_is(
    mongo: Mongo, tmp_path: Path
) -> None:
    nowhere = Broker("amqp://127.0.0.1:1/", "", "")
    async with an_office(nowhere, mongo, tmp_path) as office:
        letter = a_letter(body=b'{"order_id": "A-1", "destination": "Olso"}', order_id="A-1")
        office.put(letter)
        edit: dict[str, Any] = {"revision": 0, "fields": {"destination": "Oslo"}, "why": "typo"}
        refused = await office.post(f"/api/dead-letters/{letter.id}/edit", **edit)
        assert (refused.status_code, "RabbitMQ" in refused.json()["detail"]) == (503, True)
        assert office.db.dead_letters.find_one({"_id": letter.id})["version"] == 0
        assert state_of(office, letter) == "open"


async def test_workers_are_held_back_by_an_admin_and_everybody_sees_who_did_it(office: Office) -> None:
    held = await office.done("/api/workers/pause", Role.ADMIN, why="supplier migration")
    assert held == {"revision": 1, "done": [], "not_answered": []}
    seen = await office.document("/api/workers")
    assert "taking orders is paused on all workers by admin-bot" in seen["held_back"][0]
    assert (await office.done("/api/workers/resume", Role.ADMIN))["revision"] == 2
    assert (await office.done("/api/workers/prefetch", Role.ADMIN, prefetch=7))["revision"] == 3
    assert (await office.done("/api/workers/circuit/open", Role.ADMIN, why="wrong addresses"))["revision"] == 4
    assert (await office.done("/api/workers/circuit/reset", Role.ADMIN))["revision"] == 5
    unknown = await office.post("/api/workers/pause", Role.ADMIN, workers=["nobody"], why="x")
    assert unknown.status_code == 404
    assert "no worker that takes orders is called 'nobody'" in unknown.json()["detail"]
    assert (await office.post("/api/workers/pause", Role.ADMIN)).status_code == 422  # why?
    assert (await office.post("/api/workers/prefetch", Role.ADMIN, prefetch=0)).status_code == 422
    assert [action for _, action, _, _ in await audit(office, action="workers")][:5] == [
        *("workers.pause", "workers.resume", "workers.prefetch", "workers.circuit.open", "workers.circuit.reset")
    ]
