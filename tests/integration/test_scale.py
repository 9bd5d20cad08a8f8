"""200,000 dead letters of 2 kB: what an operator asks is answered from indexes, in well under a second."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.dead_letter_search import selection_filter
from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.letter_documents import letter_document
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.store import MongoStore
from tests.support.letters import a_letter
from tests.support.many import one_of, put_many, seconds_from, text
from worker.domain.audit import Audit
from worker.domain.replay_jobs import ReplayJobs
from worker.domain.selection import DeadLetterState, Selection
from worker.domain.selection_words import in_words

LETTERS, GROUPS, RESOLVED_EVERY = 200_000, 6, 10
REASONS = ("attempts_exhausted", "supplier_rejected", "malformed")
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
A_SECOND, SCANS = 1.0, 4

OPEN = Selection(state=DeadLetterState.OPEN)
ALL = Selection()
GROUP = Selection(group="000000000003", state=DeadLetterState.OPEN)
REASON = Selection(reason="supplier_rejected", state=DeadLetterState.OPEN)
A_DAY = Selection(since=BEGAN, until=BEGAN + timedelta(days=1))
ORDER, TRACE = Selection(order_id="order-123456"), Selection(trace_id="trace-123456")


@dataclass(frozen=True)
class Full:
    """A store full of dead letters."""

    uri: str
    database: str


@pytest.fixture(scope="module")
def full(mongod_uri: str) -> Iterator[Full]:
    database = f"test_{uuid.uuid4().hex[:12]}"
    template = letter_document(a_letter(body=json.dumps({"note": "x" * 1900}).encode()))
    at = seconds_from(BEGAN, step=1)
    changes = {
        "_id": text("00000000-0000-4000-8000-", digits=12),
        "state": {"$cond": [{"$eq": [{"$mod": ["$n", RESOLVED_EVERY]}, 0]}, "resolved", "open"]},
        "order_id": text("order-", digits=6),
        "trace_id": text("trace-", digits=6),
        "fingerprint": text("", {"$mod": ["$n", GROUPS]}, digits=12),
        "reason": one_of(*REASONS),
        "dead_lettered_at": at,
        "first_failed_at": {"$subtract": [at, 60_000]},
        "revision": 0,
    }
    with MongoClient[dict[str, Any]](mongod_uri) as client:
        put_many(client[database].dead_letters, template, range(LETTERS), changes)
        yield Full(mongod_uri, database)
        client.drop_database(database)


@pytest.fixture
async def store(full: Full) -> AsyncIterator[MongoStore]:
    opened = MongoStore(full.uri, database=full.database, timeout=60.0)
    await opened.ensure_indexes()
    yield opened
    await opened.close()


@pytest.fixture
def letters(store: MongoStore) -> MongoDeadLetters:
    return MongoDeadLetters(store)


async def seconds_of(question: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """Ask three times; return the shortest time and the answer."""
    times, answer = [], None
    for _ in range(3):
        started = time.perf_counter()
        answer = await question()
        times.append(time.perf_counter() - started)
    return min(times), answer


def is_quick(full: Full, *seconds: float) -> bool:
    """Tell if all came in under a second: where other work slows the store down, before four scans of all letters."""
    if max(seconds) < A_SECOND:
        return True
    with MongoClient[dict[str, Any]](full.uri) as client:
        started = time.perf_counter()
        assert client[full.database].dead_letters.count_documents({"origin_exchange": "no such"}) == 0
        return max(seconds) < SCANS * (time.perf_counter() - started)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("selection", [OPEN, ALL, GROUP, REASON, A_DAY, ORDER, TRACE], ids=in_words)
async def test_a_page_of_any_selection_comes_in_well_under_a_second(
    full: Full, letters: MongoDeadLetters, selection: Selection
) -> None:
    async def page() -> list[str]:
        return [letter.id async for letter in letters.search(selection, limit=50)]

    seconds, found = await seconds_of(page)
    assert is_quick(full, seconds)
    assert len(found) == (1 if selection in (ORDER, TRACE) else 50)


@pytest.mark.parametrize("selection", [OPEN, ALL, REASON, GROUP, A_DAY, ORDER], ids=in_words)
async def test_counting_and_grouping_take_well_under_a_second(
    full: Full, letters: MongoDeadLetters, selection: Selection
) -> None:
    counting, count = await seconds_of(lambda: letters.count(selection))
    grouping, groups = await seconds_of(lambda: letters.groups(selection))
    by_hour, hours = await seconds_of(lambda: letters.hours(selection))
    assert is_quick(full, counting, grouping, by_hour)
    assert sum(group.count for group in groups) == sum(hour.count for hour in hours) == count > 0


async def test_a_dry_run_over_all_of_them_takes_well_under_a_second(
    full: Full, store: MongoStore, letters: MongoDeadLetters
) -> None:
    jobs = ReplayJobs(
        letters=letters, jobs=MongoReplayJobs(store), items=MongoReplayItems(store), audit=Audit(MongoAuditLog(store))
    )
    seconds, plan = await seconds_of(lambda: jobs.plan(ALL))
    assert is_quick(full, seconds)
    resolved = LETTERS // RESOLVED_EVERY
    assert (plan.total, plan.left_alone) == (LETTERS - resolved, {DeadLetterState.RESOLVED: resolved})
    assert len(plan.groups) == GROUPS


@pytest.mark.parametrize("selection", [OPEN, ALL, GROUP, REASON, A_DAY], ids=in_words)
async def test_lists_come_in_the_order_of_an_index_and_sort_nothing(store: MongoStore, selection: Selection) -> None:
    newest_first = [("dead_lettered_at", -1), ("_id", -1)]
    cursor = store.collection("dead_letters").find(selection_filter(selection)).sort(newest_first).limit(50)
    plan = await cursor.explain()
    stages = set(stages_of(plan["queryPlanner"]["winningPlan"]))
    assert "IXSCAN" in stages
    assert not stages & {"COLLSCAN", "SORT"}
    assert plan["executionStats"]["totalDocsExamined"] <= 50


@pytest.mark.parametrize("selection", [ORDER, TRACE], ids=in_words)
async def test_an_order_or_trace_is_found_by_its_own_index(store: MongoStore, selection: Selection) -> None:
    plan = await store.collection("dead_letters").find(selection_filter(selection)).explain()
    assert "COLLSCAN" not in set(stages_of(plan["queryPlanner"]["winningPlan"]))
    assert plan["executionStats"]["totalDocsExamined"] == 1


@pytest.mark.parametrize("selection", [OPEN, ALL, GROUP, REASON, A_DAY], ids=in_words)
async def test_groups_are_made_of_the_index_alone_and_read_no_letter(full: Full, selection: Selection) -> None:
    group = {"_id": "$fingerprint", "n": {"$sum": 1}, "newest": {"$max": {"at": "$dead_lettered_at", "id": "$_id"}}}
    pipeline = [{"$match": selection_filter(selection)}, {"$group": {**group, "first": {"$min": "$first_failed_at"}}}]
    aggregate = {"aggregate": "dead_letters", "pipeline": pipeline, "cursor": {}}
    with MongoClient[dict[str, Any]](full.uri) as client:
        explained = client[full.database].command("explain", aggregate, verbosity="executionStats")
    stages = set(stages_of(explained))
    assert "IXSCAN" in stages
    assert not stages & {"COLLSCAN", "FETCH"}


async def test_the_indexes_of_a_full_store_are_made_however_long_that_takes(full: Full) -> None:
    with MongoClient[dict[str, Any]](full.uri) as client:
        client[full.database].dead_letters.drop_indexes()
    hurried = MongoStore(full.uri, database=full.database, timeout=0.3)
    try:
        started = time.perf_counter()
        await hurried.ensure_indexes("dead_letters")
        assert time.perf_counter() - started > 0.3, "it has to take longer than one operation may, to tell anything"
    finally:
        await hurried.close()


async def test_the_pages_of_a_job_s_letters_are_found_by_an_index(store: MongoStore) -> None:
    which = {"$and": [selection_filter(OPEN), {"dead_lettered_at": {"$lte": BEGAN + timedelta(days=9)}}]}
    cursor = store.collection("dead_letters").find(which, {"dead_lettered_at": True})
    plan = await cursor.sort([("dead_lettered_at", 1), ("_id", 1)]).skip(4999).limit(1).explain()
    assert not set(stages_of(plan["queryPlanner"]["winningPlan"])) & {"COLLSCAN", "SORT"}
    assert plan["executionStats"]["totalDocsExamined"] <= 1


def stages_of(plan: Any) -> Iterator[str]:
    """Yield the name of every stage in a plan."""
    if isinstance(plan, dict):
        if isinstance(plan.get("stage"), str):
            yield plan["stage"]
        for part in plan.values():
            yield from stages_of(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from stages_of(part)
