"""What an operator does with replay jobs: plan, start, pause, resume, cancel, and what is written down of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.letters import NOW, a_letter
from tests.support.replay_room import FAST, Room
from worker.domain.errors import JobConflictError, NotFoundError
from worker.domain.replay_job import ItemState, JobState
from worker.domain.selection import DeadLetterState, Selection

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
RESOLVED, DISCARDED = DeadLetterState.RESOLVED, DeadLetterState.DISCARDED


async def in_state(room: Room, state: JobState) -> None:
    """Have a job in this state, as if it had come there."""
    await room.start()
    resumes_as = JobState.RAMP if state is JobState.PAUSED else None
    room.jobs.jobs[room.job.id] = replace(room.job, state=state, resumes_as=resumes_as, total=3)


async def test_a_plan_tells_the_kinds_what_is_left_alone_and_what_is_hopeless_and_changes_nothing() -> None:
    letters = [a_letter(fingerprint="aaa") for _ in range(3)] + [a_letter(fingerprint="bbb", reason="malformed")]
    others = [a_letter(state=state) for state in (RESOLVED, RESOLVED, DISCARDED, REPLAYING)]
    room = Room(*letters, *others)
    before = dict(room.letters.letters)
    plan = await room.service.plan(Selection())
    assert [(group.fingerprint, group.count) for group in plan.groups] == [("aaa", 3), ("bbb", 1)]
    assert (plan.total, plan.hopeless) == (4, 1)
    assert plan.by_reason == {"supplier_rejected": 3, "malformed": 1}
    assert plan.left_alone == {RESOLVED: 2, DISCARDED: 1, REPLAYING: 1}
    assert room.letters.letters == before


async def test_a_plan_of_named_letters_tells_how_many_the_other_filters_leave_out() -> None:
    wanted, other = a_letter(reason="malformed"), a_letter()
    plan = await Room(wanted, other).service.plan(Selection(ids=(wanted.id, other.id), reason="malformed"))
    assert (plan.total, plan.not_matching) == (1, 1)


async def test_a_plan_for_letters_that_are_not_open_has_nothing_to_send() -> None:
    plan = await Room(a_letter(), a_letter(state=RESOLVED)).service.plan(Selection(state=RESOLVED))
    assert (plan.total, plan.left_alone) == (0, {RESOLVED: 1})


async def test_a_job_is_about_what_was_open_whatever_the_clock_of_its_operator_says() -> None:
    newest = a_letter(dead_lettered_at=NOW + timedelta(minutes=5))  # the workers' clocks are ahead
    room = Room(a_letter(), newest)
    await room.start()
    late = a_letter(dead_lettered_at=NOW + timedelta(minutes=6))
    room.letters.letters[late.id] = late
    await room.run()
    assert await room.counts() == {ItemState.RESOLVED: 2}
    assert room.with_state(OPEN) == [late.id]


async def test_a_second_job_is_refused_and_told_of_the_first_and_both_are_in_the_audit_log() -> None:
    room = Room(a_letter(), a_letter())
    first = await room.start()
    with pytest.raises(
        JobConflictError, match=rf"job {first.id} of anna is active \(selecting; fixed\): one at a time"
    ):
        await room.service.start(Selection(), FAST, by="ben", why="me too")
    begun, refused = sorted(room.audit_log.all, key=lambda entry: entry.who)
    assert (begun.action, begun.who, begun.why, begun.count, begun.result) == (
        *("replay.start", "anna", "fixed", 2, "done"),
    )
    assert (refused.action, refused.who, refused.count) == ("replay.start", "ben", None)
    assert str(refused.result).startswith(f"refused: the replay job {first.id}")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
@pytest.mark.parametrize("state", list(JobState))
async def test_each_word_is_taken_in_the_states_it_makes_sense_in_and_refused_in_the_others(
    verb: str, state: JobState
) -> None:
    running = {JobState.SELECTING, JobState.CANARY, JobState.RAMP, JobState.SETTLING}
    allowed = {
        "pause": running,
        "resume": {JobState.PAUSED, JobState.STOPPED},
        "cancel": {*running, JobState.PAUSED, JobState.STOPPED},
    }[verb]
    room = Room(a_letter())
    await in_state(room, state)
    word = {"pause": room.service.pause, "resume": room.service.resume, "cancel": room.service.cancel}[verb]
    if state in allowed:
        changed = await word(room.job.id, by="anna", why="a reason")
        assert room.job == changed
        assert room.state() is not state
    else:
        with pytest.raises(JobConflictError, match=f"is {state}: it cannot {verb} now"):
            await word(room.job.id, by="anna", why="a reason")
        assert room.state() is state
    entry = next(entry for entry in room.audit_log.all if entry.action == f"replay.{verb}")
    assert (entry.who, entry.why, entry.job_id) == ("anna", "a reason", room.job.id)
    assert str(entry.result).startswith("done" if state in allowed else "refused: ")


async def test_a_paused_job_is_resumed_where_it_was_and_a_stopped_one_with_a_new_canary() -> None:
    paused, stopped = Room(a_letter()), Room(a_letter())
    await in_state(paused, JobState.PAUSED)
    await in_state(stopped, JobState.STOPPED)
    resumed = await paused.service.resume(paused.job.id, by="anna")
    again = await stopped.service.resume(stopped.job.id, by="anna")
    assert (resumed.state, resumed.round) == (JobState.RAMP, 1)
    assert (again.state, again.round, again.because) == (JobState.CANARY, 2, None)


async def test_a_stopped_job_is_not_resumed_beside_an_active_one() -> None:
    room = Room(a_letter())
    await in_state(room, JobState.STOPPED)
    stopped = room.job
    await room.service.start(Selection(), FAST, by="ben", why="another")
    with pytest.raises(JobConflictError, match="another replay job is active"):
        await room.service.resume(stopped.id, by="anna")


async def test_a_job_that_is_not_there_is_named_with_where_to_look() -> None:
    room = Room()
    with pytest.raises(NotFoundError, match="no replay job 'nothing'"):
        await room.service.pause("nothing", by="anna")
    with pytest.raises(NotFoundError, match="'logistics replay list' shows those there are"):
        await room.service.full_id("beef")


async def test_the_beginning_of_a_job_s_id_is_enough() -> None:
    room = Room(a_letter())
    job = await room.start()
    assert await room.service.full_id(job.id[:3].upper()) == job.id


async def test_what_arrives_while_a_job_runs_is_counted_and_what_failed_again_in_it_is_not() -> None:
    letters = [a_letter() for _ in range(20)]
    room = Room(*letters)
    room.fate = lambda letter: letter.id != letters[3].id
    await room.start(replace(FAST, canary=0, stop_share=1.0))
    room.time.pass_by(5.0)
    for _ in range(2):
        late = a_letter(dead_lettered_at=room.time.now)
        room.letters.letters[late.id] = late
    await room.run()
    assert await room.counts() == {ItemState.RESOLVED: 19, ItemState.FAILED_AGAIN: 1}
    assert (await room.service.progress(room.job.id)).arrived == 2


async def test_the_rate_of_an_active_job_can_be_changed_and_the_audit_log_says_by_whom() -> None:
    room = Room(a_letter())
    await in_state(room, JobState.PAUSED)
    await room.service.set_rate(room.job.id, 50.0, by="anna", why="the supplier is well")
    progress = await room.service.progress(room.job.id)
    assert (progress.job.options.rate, progress.job.state) == (50.0, JobState.PAUSED)


@pytest.mark.parametrize("rate", [0.0, -1.0, 1000.5, float("nan")])
async def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    room = Room(a_letter())
    await in_state(room, JobState.PAUSED)
    with pytest.raises(ValueError, match="more than 0 and at most 1000"):
        await room.service.set_rate(room.job.id, rate, by="anna")
