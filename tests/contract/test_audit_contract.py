"""What every `IAuditLog` must do: the fake of the unit tests and the real store alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.support.fake_audit import FakeAuditLog
from tests.support.letters import NOW
from worker.domain.audit import Audit
from worker.domain.audit_entry import AuditAction, AuditEntry
from worker.domain.errors import ConfigurationError, LogisticsError

LATER = NOW + timedelta(minutes=5)
Log = FakeAuditLog | MongoAuditLog


@pytest.fixture(params=["fake", "mongodb"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    if request.param == "fake":
        yield FakeAuditLog()
        return
    mongo: Mongo = request.getfixturevalue("mongo")
    opened = MongoStore(mongo.uri, database=mongo.database)
    await opened.ensure_indexes()
    yield MongoAuditLog(opened)
    await opened.close()


def an_entry(entry_id: str = "e1", **fields: Any) -> AuditEntry:
    made: dict[str, Any] = {"at": NOW, "who": "anna", "action": "discard", "why": "test orders", "what": "1 letter"}
    return AuditEntry(id=entry_id, **{**made, **fields})


async def ids(log: Log, **which: Any) -> list[str]:
    return [entry.id for entry in await log.entries(**{"limit": 100, **which})]


async def test_an_action_comes_back_as_it_was_written_and_has_no_end(log: Log) -> None:
    entry = an_entry(job_id="j1", why="ünï \x00 \x1b[2J", what="$where")
    await log.begin(entry)
    assert await log.entries(limit=10) == [entry]
    assert (entry.count, entry.result) == (None, None)


async def test_an_action_that_ended_tells_how(log: Log) -> None:
    await log.begin(an_entry())
    await log.finish("e1", count=17, result="done", now=LATER)
    assert await log.entries(limit=10) == [replace(an_entry(), count=17, result="done")]


async def test_an_action_written_twice_stays_as_it_was_written_first(log: Log) -> None:
    await log.begin(an_entry())
    await log.begin(an_entry(who="ben", at=LATER))
    assert await log.entries(limit=10) == [an_entry()]


async def test_of_two_ends_the_first_counts(log: Log) -> None:
    await log.begin(an_entry())
    await log.finish("e1", count=1, result="done", now=NOW)
    await log.finish("e1", count=2, result="refused: no", now=LATER)
    assert await log.entries(limit=10) == [replace(an_entry(), count=1, result="done")]


async def test_the_newest_action_comes_first_and_no_more_than_asked_for(log: Log) -> None:
    for number in range(7):
        await log.begin(an_entry(f"e{number}", at=NOW + timedelta(minutes=number % 4)))
        await log.finish(f"e{number}", count=number, result="done", now=LATER)
    assert await ids(log) == ["e3", "e6", "e2", "e5", "e1", "e4", "e0"]
    assert await ids(log, limit=2) == ["e3", "e6"]


async def test_every_field_narrows_what_is_returned(log: Log) -> None:
    await log.begin(an_entry("wanted", who="ben", action="replay.start", job_id="j1", at=LATER))
    await log.begin(an_entry("other"))
    for which in (
        {"who": "ben"},
        {"action": "replay.start"},
        {"action": "replay"},
        {"job_id": "j1"},
        {"since": LATER},
        {"since": NOW + timedelta(seconds=1), "until": LATER + timedelta(seconds=1), "who": "ben", "action": "replay"},
    ):
        assert await ids(log, **which) == ["wanted"], which
    assert await ids(log, until=LATER) == ["other"]
    assert await ids(log, who="nobody") == []


async def test_an_action_s_name_matches_whole_words_only(log: Log) -> None:
    for number, action in enumerate(["replay", "replay.start", "replayed", "replay/x", "edit"]):
        await log.begin(an_entry(f"e{number}", action=action))
    assert sorted(await ids(log, action="replay")) == ["e0", "e1"]
    assert await ids(log, action="repl") == []
    assert await ids(log, action=".*") == []


async def test_concurrent_actions_are_all_kept(log: Log) -> None:
    await asyncio.gather(*(log.begin(an_entry(f"e{number}")) for number in range(50)))
    assert len(await ids(log)) == 50


async def test_a_recorded_action_is_there_before_it_is_performed_and_ended_afterwards(log: Log) -> None:
    audit = Audit(log, clock=lambda: NOW, new_id=lambda: "e1")
    async with audit.recorded(AuditAction.DISCARD, who="anna", why="test orders", what="1 letter") as recording:
        assert await log.entries(limit=10) == [an_entry()]
        recording.count = 3
    assert await log.entries(limit=10) == [replace(an_entry(), count=3, result="done")]


async def test_an_action_that_was_refused_tells_why(log: Log) -> None:
    audit = Audit(log, clock=lambda: NOW, new_id=lambda: "e1")
    with pytest.raises(LogisticsError):
        async with audit.recorded(AuditAction.EDIT, who="anna", why="typo", what="1 letter"):
            raise ConfigurationError("no")
    (entry,) = await log.entries(limit=10)
    assert entry.result == "refused: no"
