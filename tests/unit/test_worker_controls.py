"""What an operator does to hold workers back, with fake store, reports and audit log."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from tests.support.fake_audit import FakeAuditLog
from tests.support.fake_controls import FakeWorkerControls, FakeWorkers
from tests.support.letters import NOW
from worker.domain.audit import Audit
from worker.domain.controls import ControlAction
from worker.domain.errors import ControlRefusedError, NotFoundError, StoreUnavailableError
from worker.domain.worker_controls import Answers, WorkerControls


@dataclass
class Room:
    """The service, on a clock that jumps."""

    workers: FakeWorkers = field(default_factory=lambda: FakeWorkers("a", "b"))
    controls: FakeWorkerControls = field(default_factory=FakeWorkerControls)
    log: FakeAuditLog = field(default_factory=FakeAuditLog)
    now: float = 0.0
    answers_after: dict[str, float] = field(default_factory=dict)
    """By worker: when it has carried out what is wished."""

    def __post_init__(self) -> None:
        self.service = WorkerControls(
            controls=self.controls,
            workers=self.workers,
            audit=Audit(self.log, clock=lambda: NOW),
            clock=lambda: NOW,
            sleep=self._sleep,
            timer=lambda: self.now,
        )

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for name, after in self.answers_after.items():
            if self.now >= after:
                self.set(name, carried_out=self.controls.wishes.revision)

    def set(self, name: str, **changes: bool | int) -> None:
        self.workers.seen[name] = replace(self.workers.seen[name], **changes)  # type: ignore[arg-type]


async def test_a_pause_is_stored_with_who_and_why_and_in_the_audit_log() -> None:
    room = Room()
    wishes = await room.service.pause(None, by="ann", why="migration")
    assert wishes == room.controls.wishes == await room.service.wishes()
    [wish] = wishes.wishes
    assert (wish.action, wish.worker, wish.by, wish.why, wish.since) == (
        ControlAction.PAUSE,
        None,
        "ann",
        "migration",
        NOW,
    )
    [entry] = room.log.all
    assert (entry.who, entry.action, entry.why, entry.what, entry.result) == (
        "ann",
        "workers.pause",
        "migration",
        "all workers",
        "done",
    )


async def test_every_action_has_its_word_in_the_audit_log() -> None:
    room = Room()
    await room.service.pause(["a"], by="ann", why="")
    await room.service.resume(["a", "b"], by="ann")
    await room.service.set_prefetch(None, 5000, by="ann")
    await room.service.set_prefetch(["b"], None, by="ann")
    await room.service.open_circuit(None, by="ann", why="")
    await room.service.reset_circuit(["a"], by="ann")
    assert [(entry.action, entry.what) for entry in room.log.all] == [
        ("workers.pause", "worker a"),
        ("workers.resume", "worker a, b"),
        ("workers.prefetch", "all workers: 5,000"),
        ("workers.prefetch", "worker b: as set"),
        ("workers.circuit.open", "all workers"),
        ("workers.circuit.reset", "worker a"),
    ]


@pytest.mark.parametrize("name", ["c", "", "a ", "all", "*", "stopped"])
async def test_a_name_that_no_running_worker_has_is_refused_and_nothing_is_wished(name: str) -> None:
    room = Room(FakeWorkers("a", "b", "stopped"))
    room.set("stopped", has_stopped=True, is_live=False)
    with pytest.raises(NotFoundError, match="there are: a, b"):
        await room.service.pause(["a", name], by="ann", why="")
    assert room.controls.wishes.revision == 0
    assert (room.log.all[0].result or "").startswith("refused: no worker")


async def test_a_prefetch_out_of_range_is_refused_before_anything_else() -> None:
    room = Room()
    with pytest.raises(ControlRefusedError):
        await room.service.set_prefetch(None, 0, by="ann")
    assert room.log.all == []


async def test_two_operators_at_once_are_both_heard() -> None:
    room = Room()
    room.controls.before_write = lambda: asyncio.sleep(0)
    await asyncio.gather(
        room.service.pause(None, by="ann", why="1"),
        room.service.set_prefetch(None, 5, by="ben"),
        *(room.service.pause(["a"], by=f"operator {number}", why="") for number in range(10)),
    )
    wishes = room.controls.wishes
    assert wishes.revision == 12
    control = wishes.for_worker("a")
    assert (control.paused is not None, control.prefetch and control.prefetch.by) == (True, "ben")


async def test_a_wish_for_a_worker_that_has_only_just_started_is_not_dropped_by_somebody_who_has_not_seen_it() -> None:
    room = Room(FakeWorkers("a"))

    async def another_is_faster() -> None:
        room.controls.before_write = None
        room.workers.seen["new"] = replace(room.workers.seen["a"], name="new")
        await room.service.pause(["new"], by="ben", why="")

    room.controls.before_write = another_is_faster
    await room.service.pause(["a"], by="ann", why="")
    assert {wish.worker for wish in room.controls.wishes.wishes} == {"a", "new"}


async def test_the_wish_of_a_worker_that_has_stopped_is_kept_as_it_may_start_again_under_its_name() -> None:
    room = Room()
    await room.service.pause(["a"], by="ann", why="")
    room.set("a", has_stopped=True, is_live=False)
    await room.service.pause(["b"], by="ann", why="")
    assert {wish.worker for wish in room.controls.wishes.wishes} == {"a", "b"}
    del room.workers.seen["a"]
    await room.service.resume(["b"], by="ann")
    assert {wish.worker for wish in room.controls.wishes.wishes} == {"b"}


async def test_answers_are_waited_for_and_those_that_do_not_come_are_named() -> None:
    room = Room(FakeWorkers("a", "b", "lost"), answers_after={"a": 1.0})
    room.set("lost", is_live=False)
    wishes = await room.service.pause(None, by="ann", why="")
    assert await room.service.answers(wishes.revision, None) == Answers(["a"], ["b"])
    assert room.now == pytest.approx(3.0)
    room.answers_after["b"] = 4.0
    assert await room.service.answers(wishes.revision, None, patience=5.0) == Answers(["a", "b"], [])
    assert room.now == pytest.approx(4.0), "no longer than needed"


async def test_of_those_that_are_named_every_one_has_to_answer() -> None:
    room = Room(FakeWorkers("a", "b", "lost"), answers_after={"a": 0.1})
    room.set("lost", is_live=False)
    wishes = await room.service.pause(["a", "lost"], by="ann", why="")
    assert await room.service.answers(wishes.revision, ["a", "lost"]) == Answers(["a"], ["lost"])


async def test_a_later_wish_carried_out_is_an_answer_too() -> None:
    room = Room()
    wishes = await room.service.pause(["a"], by="ann", why="")
    room.set("a", carried_out=wishes.revision + 5)
    assert await room.service.answers(wishes.revision, ["a"]) == Answers(["a"], [])


async def test_a_store_that_is_away_is_told() -> None:
    room = Room()
    room.controls.is_down = True
    with pytest.raises(StoreUnavailableError):
        await room.service.pause(None, by="ann", why="")
