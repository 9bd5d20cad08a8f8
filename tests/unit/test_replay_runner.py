"""A replay job from start to end: the runner, the sender and the settling together, against fakes and a fake clock."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.fakes import Copy
from tests.support.letters import NOW, a_letter
from tests.support.replay_room import FAST, GRACE, Room, letters
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.errors import BrokerUnavailableError, PublishError, StoreUnavailableError
from worker.domain.replay_job import ItemState, JobState, ReplayOptions
from worker.domain.replay_pace import letters_by
from worker.domain.replay_runner import LEASE
from worker.domain.selection import DeadLetterState, Selection

RESOLVED, FAILED_AGAIN = ItemState.RESOLVED, ItemState.FAILED_AGAIN


async def test_a_job_sends_every_letter_once_and_its_result_is_the_sum() -> None:
    room = Room(*letters(250))
    await room.start()
    await room.run()
    assert room.state() is JobState.DONE
    assert (room.job.total, room.job.because) == (250, None)
    assert await room.counts() == {RESOLVED: 250}
    assert set(room.copies().values()) == {1}
    assert room.with_state(DeadLetterState.RESOLVED) == list(room.letters.letters)


async def test_a_job_of_nothing_is_done_at_once_and_says_so() -> None:
    room = Room(a_letter(state=DeadLetterState.RESOLVED))
    await room.start()
    await room.run()
    assert (room.state(), room.job.total, room.job.because) == (JobState.DONE, 0, "no open dead letter matched")


async def test_the_letters_longest_dead_go_first() -> None:
    late, early = a_letter(dead_lettered_at=NOW), a_letter(dead_lettered_at=NOW - timedelta(hours=1))
    room = Room(late, early)
    await room.start()
    await room.run()
    assert [copy.headers["dead_letter_id"] for copy in room.broker.copies] == [early.id, late.id]


async def test_a_letter_that_arrives_after_the_start_is_left_alone() -> None:
    room = Room(*letters(3))
    await room.start()
    new = a_letter(dead_lettered_at=room.time.now + timedelta(milliseconds=1))
    room.letters.letters[new.id] = new
    await room.run()
    assert (room.job.total, await room.counts()) == (3, {RESOLVED: 3})
    assert room.letters.letters[new.id] == new


async def test_a_selection_larger_than_a_page_is_written_down_page_by_page() -> None:
    room = Room(*letters(25), page=10)
    await room.start()
    await room.run()
    assert (room.job.total, await room.counts()) == (25, {RESOLVED: 25})


# The canary


async def test_nothing_follows_the_canary_until_its_outcome_is_known() -> None:
    room = Room(*letters(20))
    room.busy = True
    await room.start(replace(FAST, canary=3))
    await room.run_for(60)
    assert len(room.broker.copies) == 3
    assert (room.state(), room.job.note) == (JobState.CANARY, "waits for the outcome of the canary")
    room.busy = False
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {RESOLVED: 20})


async def test_a_canary_that_fails_stops_the_job_and_the_rest_stays_open() -> None:
    room = Room(*letters(20))
    room.fate = lambda _: False
    await room.start()
    await room.run()
    assert room.state() is JobState.STOPPED
    assert str(room.job.because).startswith("the canary failed: ")
    assert await room.counts() == {FAILED_AGAIN: 1, ItemState.WAITING: 19}
    assert len(room.broker.copies) == 1
    assert len(room.with_state(DeadLetterState.OPEN)) == 20


async def test_one_canary_of_many_that_fails_is_enough() -> None:
    room = Room(*letters(20))
    bad = sorted(room.letters.letters)[2]
    room.fate = lambda letter: letter.id != bad
    await room.start(replace(FAST, canary=5))
    await room.run()
    assert (room.state(), len(room.broker.copies)) == (JobState.STOPPED, 5)


async def test_a_canary_that_the_broker_refuses_stops_the_job() -> None:
    room = Room(*letters(5))
    room.broker.refuse = lambda _: PublishError("a queue is full")
    await room.start()
    await room.run()
    assert (room.state(), room.job.because) == (
        JobState.STOPPED,
        f"the canary failed: a queue is full (dead letter {min(room.letters.letters)})",
    )
    assert await room.counts() == {ItemState.NOT_SENT: 1, ItemState.WAITING: 4}
    assert len(room.with_state(DeadLetterState.OPEN)) == 5


async def test_a_canary_that_never_ends_stops_the_job_when_it_is_overdue() -> None:
    room = Room(*letters(5))
    room.fate = lambda _: None
    await room.start(replace(FAST, overdue_after=120.0))
    await room.run_for(115)
    assert room.state() is JobState.CANARY
    await room.run(seconds=10)
    assert room.state() is JobState.STOPPED
    assert "has no outcome after 120 s" in str(room.job.because)
    assert (await room.tally()).overdue == 1


async def test_a_stopped_job_that_is_resumed_proves_itself_with_a_new_canary() -> None:
    room = Room(*letters(10))
    room.fate = lambda _: False
    job = await room.start()
    await room.run()
    await room.service.resume(job.id, by="anna")
    await room.run()
    assert (room.state(), room.job.round, len(room.broker.copies)) == (JobState.STOPPED, 2, 2)
    room.fate = lambda _: True
    await room.service.resume(job.id, by="anna")
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {FAILED_AGAIN: 2, RESOLVED: 8})
    assert set(room.copies().values()) == {1}


async def test_a_canary_that_is_not_open_any_more_is_replaced_by_the_next() -> None:
    room = Room(*letters(4))
    await room.start()
    while room.state() is not JobState.CANARY:
        await room.step()
    first = min(room.letters.letters)
    room.letters.letters[first] = replace(room.letters.letters[first], state=DeadLetterState.DISCARDED)
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {ItemState.SKIPPED: 1, RESOLVED: 3})
    assert len(room.items.items) == 4


async def test_a_job_may_go_without_a_canary() -> None:
    room = Room(*letters(5))
    room.fate = lambda _: False
    await room.start(replace(FAST, canary=0))
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {FAILED_AGAIN: 5})


async def test_more_canaries_than_letters_are_the_whole_job() -> None:
    room = Room(*letters(3))
    await room.start(replace(FAST, canary=50))
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {RESOLVED: 3})


# The ramp


async def test_the_ramp_starts_slowly_grows_and_never_goes_above_its_rate() -> None:
    room = Room(*letters(400))
    options = ReplayOptions(canary=0, rate=8.0, start_rate=1.0)
    await room.start(options)
    while room.state() is not JobState.RAMP:
        await room.step()
    began, sent = room.time.seconds, [0.0]
    while room.state() is JobState.RAMP:
        before = len(room.broker.copies)
        at = room.time.seconds
        await room.step()
        sent += [at - began] * (len(room.broker.copies) - before)
        assert len(room.broker.copies) <= 1.02 * letters_by(options, at - began) + 1  # a tick has one rate
    assert len(room.broker.copies) == 400
    assert letters_by(options, sent[-1]) == pytest.approx(400, rel=0.05)  # it is no slower than it may be, either


async def test_another_rate_is_taken_up_while_the_job_runs_without_a_burst_and_kept_to_its_end() -> None:
    room = Room(*letters(300))
    await room.start(ReplayOptions(canary=0, rate=2.0, start_rate=2.0))
    await room.run(until=lambda: len(room.broker.copies) >= 40)
    await room.service.set_rate(room.job.id, 10.0, by="anna")
    before = len(room.broker.copies)
    await room.run_for(30)
    assert len(room.broker.copies) - before == pytest.approx(300 - before, abs=12)
    assert len(room.broker.copies) - before <= 30 * 10 + 10
    await room.run()
    assert (room.state(), room.job.options.rate) == (JobState.DONE, 10.0)


async def test_letters_that_had_to_wait_do_not_go_out_in_one_burst_later() -> None:
    room = Room(*letters(60))
    room.busy = True
    await room.start(ReplayOptions(canary=0, rate=2.0, start_rate=2.0, in_flight=20))
    await room.run(until=lambda: len(room.broker.copies) == 20)
    await room.run_for(120)
    room.busy = False
    await room.run(until=lambda: not room.broker.ready)
    before = len(room.broker.copies)
    await room.run_for(5)
    assert len(room.broker.copies) - before <= 5 * 2 + 2


async def test_no_more_copies_are_on_their_way_at_once_than_allowed_and_that_is_said() -> None:
    room = Room(*letters(50))
    room.busy = True
    await room.start(replace(FAST, canary=0, in_flight=7))
    await room.run_for(30)
    assert len(room.broker.copies) == 7
    assert (room.state(), room.job.note) == (JobState.RAMP, "waits: 7 copies are on their way")
    while room.state() is not JobState.DONE:
        room.busy = not room.busy
        await room.step()
        assert len(room.broker.ready) <= 7
    assert await room.counts() == {RESOLVED: 50}


async def test_a_job_stops_when_too_many_fail_again_in_the_same_way() -> None:
    room = Room(*letters(1000))
    good = set(sorted(room.letters.letters)[:50])
    room.fate = lambda letter: letter.id in good
    await room.start(ReplayOptions(rate=20.0, start_rate=20.0, stop_share=0.1))
    await room.run()
    assert room.state() is JobState.STOPPED
    assert "failed in the same way, more than 10%" in str(room.job.because)
    assert len(room.broker.copies) < 120  # it looks every second
    counts = await room.counts()
    assert sum(counts.values()) == 1000
    assert counts[RESOLVED] == 50


async def test_a_few_failures_do_not_stop_a_job() -> None:
    room = Room(*letters(300))
    bad = set(sorted(room.letters.letters)[1::20])
    room.fate = lambda letter: letter.id not in bad
    await room.start()
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {FAILED_AGAIN: 15, RESOLVED: 285})


# The circuit


async def test_a_job_waits_with_its_canary_while_a_circuit_is_open() -> None:
    room = Room(*letters(5))
    room.circuits.why = "the circuit is open at worker w"
    await room.start()
    await room.run_for(30)
    assert (room.state(), room.job.note) == (JobState.CANARY, "waits: the circuit is open at worker w")
    assert room.broker.copies == []
    room.circuits.why = None
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {RESOLVED: 5})


async def test_a_circuit_that_opens_while_the_canary_is_out_stops_the_job() -> None:
    room = Room(*letters(5))
    room.busy = True
    await room.start()
    await room.run(until=lambda: len(room.broker.copies) == 1)
    room.circuits.why = "the circuit is open at worker w"
    await room.run(until=lambda: room.state() is JobState.STOPPED, seconds=10)
    assert room.job.because == "the circuit is open at worker w"


async def test_a_circuit_that_opens_during_the_ramp_stops_the_job() -> None:
    room = Room(*letters(500))
    await room.start(replace(FAST, rate=20.0))
    await room.run(until=lambda: len(room.broker.copies) > 60)
    room.circuits.why = "the circuit is open at worker w"
    sent = len(room.broker.copies)
    await room.run()
    assert (room.state(), room.job.because) == (JobState.STOPPED, room.circuits.why)
    assert len(room.broker.copies) - sent <= 40  # it looks every second


# What the operator wants


async def test_a_paused_job_sends_nothing_and_still_learns_what_became_of_what_is_out() -> None:
    room = Room(*letters(100))
    room.busy = True
    job = await room.start(replace(FAST, canary=0, rate=40.0, start_rate=40.0))
    await room.run(until=lambda: len(room.broker.copies) >= 30)
    await room.service.pause(job.id, by="anna", why="lunch")
    sent = len(room.broker.copies)
    room.busy = False
    await room.run_for(30)
    assert (room.state(), room.job.because) == (JobState.PAUSED, "paused by anna: lunch")
    assert await room.counts() == {RESOLVED: sent, ItemState.WAITING: 100 - sent}
    await room.service.resume(job.id, by="anna")
    assert room.state() is JobState.RAMP
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {RESOLVED: 100})
    assert set(room.copies().values()) == {1}


@pytest.mark.parametrize("when", ["claim:after", "publish:before", "publish:after", "confirm:after", "record:before"])
async def test_a_pause_in_the_middle_of_a_wave_lets_the_wave_end_and_nothing_follow(when: str) -> None:
    room = Room(*letters(300))
    job = await room.start(replace(FAST, canary=0))
    paused = False

    async def pause_once(at: str) -> None:
        nonlocal paused
        if at == when and room.broker.copies and not paused:
            paused = True
            await room.service.pause(job.id, by="anna")

    room.wire.at = pause_once
    await room.run()
    assert room.state() is JobState.PAUSED
    sent = len(room.broker.copies)
    await room.run_for(30)
    assert len(room.broker.copies) == sent < 300
    assert await room.counts() == {RESOLVED: sent, ItemState.WAITING: 300 - sent}
    await room.service.resume(job.id, by="anna")
    await room.run()
    assert await room.counts() == {RESOLVED: 300}
    assert set(room.copies().values()) == {1}


async def test_of_a_cancelled_job_what_is_out_stays_out_and_the_rest_stays_open() -> None:
    room = Room(*letters(100))
    room.busy = True
    job = await room.start(replace(FAST, canary=0, rate=40.0, start_rate=40.0))
    await room.run(until=lambda: len(room.broker.copies) >= 30)
    await room.service.cancel(job.id, by="anna", why="wrong ones")
    sent = len(room.broker.copies)
    assert len(room.with_state(DeadLetterState.OPEN)) == 100 - sent
    room.busy = False
    await room.run_for(30)
    assert (room.state(), room.job.because) == (JobState.CANCELLED, "cancelled by anna: wrong ones")
    assert await room.counts() == {RESOLVED: sent, ItemState.WAITING: 100 - sent}
    assert len(room.broker.copies) == sent


async def test_a_job_that_is_paused_before_everything_is_selected_goes_on_selecting() -> None:
    room = Room(*letters(30), page=10)
    job = await room.start()
    await room.step()
    await room.service.pause(job.id, by="anna")
    await room.run_for(10)
    assert (room.job.total, len(room.items.items)) == (None, 10)
    await room.service.resume(job.id, by="anna")
    await room.run()
    assert (room.job.total, await room.counts()) == (30, {RESOLVED: 30})


# Copies without an end


async def test_the_outcomes_of_what_a_stopped_job_has_sent_are_still_learned() -> None:
    room = Room(*letters(200))
    room.fate = lambda _: None
    await room.start(replace(FAST, canary=0, rate=40.0, start_rate=40.0))
    await room.run(until=lambda: len(room.put_off) >= 30)
    room.circuits.why = "the circuit is open at worker w"
    await room.run()
    sent = len(room.broker.copies)
    room.fate = lambda _: True
    room.broker.ready += room.put_off
    await room.run_for(10)
    assert (room.state(), await room.counts()) == (JobState.STOPPED, {RESOLVED: sent, ItemState.WAITING: 200 - sent})


async def test_a_copy_that_comes_to_no_end_is_reported_as_overdue_and_counted_when_it_does() -> None:
    room = Room(*letters(10))
    slow = min(room.letters.letters)
    room.fate = lambda letter: None if letter.id == slow else True
    await room.start(replace(FAST, canary=0, overdue_after=600.0))
    await room.run_for(590)
    assert (room.state(), room.job.note) == (JobState.SETTLING, "waits for 1 outcomes")
    assert (await room.tally()).overdue == 0
    await room.run()
    assert room.state() is JobState.DONE
    assert room.job.because == "it ended with 1 copies overdue: they had no outcome yet"
    tally = await room.tally()
    assert (tally.of(ItemState.SENT), tally.overdue, tally.is_success) == (1, 1, False)
    room.fate = lambda _: True
    room.broker.ready += room.put_off
    await room.run_for(10)
    assert await room.counts() == {RESOLVED: 10}


async def test_a_letter_that_is_taken_away_from_the_job_is_told_as_taken_back() -> None:
    room = Room(*letters(5))
    room.fate = lambda _: None
    await room.start(replace(FAST, canary=0))
    await room.run(until=lambda: len(room.put_off) == 5)
    gone = min(room.letters.letters)
    room.letters.letters[gone] = replace(room.letters.letters[gone], state=DeadLetterState.OPEN)
    await room.run_for(5)
    assert await room.counts() == {ItemState.TAKEN_BACK: 1, ItemState.SENT: 4}
    assert len(room.broker.copies) == 5


# Servers that are away


async def test_copies_of_which_nobody_knows_are_in_doubt_and_not_sent_again_while_they_may_be_there() -> None:
    room = Room(*letters(3))
    room.busy = True
    room.broker.refuse = lambda _: BrokerUnavailableError("no answer in time")
    await room.start(replace(FAST, canary=0))
    while room.state() is not JobState.RAMP:
        await room.step()
    await room.step()
    assert await room.counts() == {ItemState.IN_DOUBT: 3}
    room.broker.refuse = lambda _: None
    # Another message of that queue waits: none of the three can be told from it.
    room.broker.ready.append(Copy("orders", "order.placed", b"", {"dead_letter_id": "?", "replay_id": "?"}, "m"))
    await room.run_for(20 * GRACE)
    assert (room.broker.copies, await room.counts()) == ([], {ItemState.IN_DOUBT: 3})
    room.broker.ready.clear()
    await room.run_for(2.5 * GRACE)
    assert set(room.copies().values()) == {1}
    assert len(room.broker.copies) == 3
    room.busy = False
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {RESOLVED: 3})


async def test_a_copy_in_doubt_that_a_worker_has_in_hand_is_not_sent_again() -> None:
    room = Room(*letters(3))
    room.fate = lambda _: None
    unconfirmed = 3

    async def cut(at: str) -> None:
        nonlocal unconfirmed
        if at == "publish:after" and unconfirmed:
            unconfirmed -= 1
            raise BrokerUnavailableError("the connection was lost")

    room.wire.at = cut
    await room.start(replace(FAST, canary=0))
    await room.run_for(20 * GRACE)
    assert (set(room.copies().values()), await room.counts()) == ({1}, {ItemState.SENT: 3})


async def test_whether_a_queue_is_empty_is_asked_once_for_all_that_are_in_doubt() -> None:
    room = Room(*letters(100))
    room.broker.lose = lambda _: True
    room.broker.refuse = lambda _: BrokerUnavailableError("no answer in time")
    await room.start(replace(FAST, canary=0))
    await room.run(until=lambda: room.broker.looks > 0)
    assert room.broker.looks == 1


async def test_a_queue_that_is_not_ours_proves_nothing_and_the_copy_ends_as_overdue() -> None:
    room = Room(a_letter(origin_exchange="elsewhere", origin_routing_key="a.key"))
    room.broker.refuse = lambda _: BrokerUnavailableError("no answer in time")
    await room.start(replace(FAST, canary=0, overdue_after=600.0))
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {ItemState.IN_DOUBT: 1})
    assert (await room.tally()).overdue == 1


async def test_a_copy_that_the_broker_refuses_leaves_its_letter_open_and_the_others_go_on() -> None:
    room = Room(*letters(30))
    bad = sorted(room.letters.letters)[7]
    room.broker.refuse = lambda copy: PublishError("full") if copy.headers["dead_letter_id"] == bad else None
    await room.start()
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {ItemState.NOT_SENT: 1, RESOLVED: 29})
    assert room.with_state(DeadLetterState.OPEN) == [bad]
    assert room.items.items[room.job.id, bad].why == "full"


async def test_a_fault_over_one_letter_is_its_own_and_the_others_go_on() -> None:
    room = Room(*letters(5))
    bad = sorted(room.letters.letters)[3]
    room.broker.refuse = lambda copy: KeyError("odd") if copy.headers["dead_letter_id"] == bad else None
    await room.start()
    await room.run()
    assert (room.state(), await room.counts()) == (JobState.DONE, {ItemState.NOT_SENT: 1, RESOLVED: 4})


@pytest.mark.parametrize(
    "call",
    [
        *("hold:before", "select:before", "canaries:before", "next_waiting:before", "record:before", "claim:before"),
        *("confirm:before", "move:before", "look:before", "tally:before"),
        *("hold:after", "select:after", "record:after", "claim:after", "confirm:after", "move:after"),
    ],
)
async def test_a_store_that_does_not_answer_for_a_while_costs_no_letter_and_no_second_copy(call: str) -> None:
    room = Room(*letters(40))
    outages = 3

    async def fail(at: str) -> None:
        nonlocal outages
        if at == call and outages:
            outages -= 1
            raise StoreUnavailableError("MongoDB does not answer")

    room.wire.at = fail
    await room.start()
    while room.state() is not JobState.DONE:
        assert room.time.seconds < 5_000, room.items.items
        try:
            await room.step()
        except StoreUnavailableError:
            await room.work()
            room.time.pass_by(2.0)
    assert outages < 3
    assert await room.counts() == {RESOLVED: 40}
    assert set(room.copies().values()) == {1}


# Several runners


async def test_one_runner_holds_a_job_and_another_takes_over_when_it_does_not_come_back() -> None:
    room = Room(*letters(10))
    other = room.new_runner()
    await room.start()
    await room.runner.step()
    assert room.job.runner == "w-1"
    await other.step()
    assert room.job.runner == "w-1"
    room.time.pass_by(LEASE + 0.1)
    await other.step()
    assert room.job.runner == "w-2"


async def test_a_runner_that_goes_gives_the_job_up_at_once() -> None:
    room = Room(*letters(10))
    other = room.new_runner()
    await room.start()
    await room.runner.step()
    await room.runner.release()
    await other.step()
    assert room.job.runner == "w-2"


async def test_an_idle_runner_learns_the_outcomes_of_a_job_that_was_cancelled() -> None:
    room = Room(*letters(10))
    room.busy = True
    job = await room.start(replace(FAST, canary=10))
    await room.run(until=lambda: len(room.broker.copies) == 10)
    await room.service.cancel(job.id, by="anna")
    room.runner = room.new_runner()
    room.busy = False
    await room.run_for(5)
    assert await room.counts() == {RESOLVED: 10}


# The audit log


async def test_what_a_job_does_by_itself_is_in_the_audit_log_under_the_worker_s_name() -> None:
    room = Room(*letters(3))
    fails = True
    room.fate = lambda _: not fails
    job = await room.start()
    await room.run()
    fails = False
    await room.service.resume(job.id, by="anna")
    await room.run()
    entries = [(entry.action, entry.who, entry.result, entry.count) for entry in room.audit_log.all]
    assert entries == [
        ("replay.start", "anna", "done", 3),
        ("replay.stopped", "worker w-1", "done", 3),
        ("replay.resume", "anna", "done", None),
        ("replay.done", "worker w-1", "done", 3),
    ]
    assert {entry.job_id for entry in room.audit_log.all} == {job.id}
    assert "the canary failed" in room.audit_log.all[1].why


async def test_a_job_that_is_paused_at_the_moment_it_would_stop_stays_paused_and_the_log_tells() -> None:
    room = Room(*letters(5))
    room.fate = lambda _: False
    job = await room.start()
    paused = False

    async def pause_first(at: str) -> None:
        nonlocal paused
        if at == "move:before" and room.state() is JobState.CANARY and not paused:
            paused = True
            await room.service.pause(job.id, by="anna")

    room.wire.at = pause_first
    await room.run()
    assert room.state() is JobState.PAUSED
    stopped = next(entry for entry in room.audit_log.all if entry.action == "replay.stopped")
    assert str(stopped.result).startswith("refused: ")
    await room.service.resume(job.id, by="anna")
    await room.run()
    assert room.state() is JobState.STOPPED
    assert [entry.result for entry in room.audit_log.all if entry.action == "replay.stopped"][-1] == "done"


async def test_a_runner_that_was_out_for_long_does_not_take_the_job_back_to_where_it_was() -> None:
    room = Room(*letters(10))
    job = await room.start()
    await room.run(until=lambda: len(room.broker.copies) == 1)
    slow_runner_has = room.job
    room.circuits.why = "the circuit is open"
    await room.run()
    room.circuits.why = None
    await room.service.resume(job.id, by="anna")
    stale = replace(slow_runner_has, state=JobState.RAMP, state_since=room.time.now)
    assert slow_runner_has.state is room.state() is JobState.CANARY
    assert not await room.jobs.move(stale, expected=slow_runner_has)
    assert (room.state(), room.job.round) == (JobState.CANARY, 2)


async def test_letters_of_one_selection_and_no_others_are_sent() -> None:
    wanted = letters(3, fingerprint="fff")
    room = Room(*wanted, *letters(3))
    await room.start(FAST, Selection(group="fff"))
    await room.run()
    sent: list[DeadLetterRecord] = [room.letters.letters[letter_id] for letter_id in room.copies()]
    assert {letter.fingerprint for letter in sent} == {"fff"}
    assert len(sent) == 3


async def test_a_copy_in_doubt_that_comes_back_into_its_queue_is_not_sent_again() -> None:
    """A worker took it while the store was away, could not note that, and put it off: for a while it is nowhere."""
    room = Room(*letters(1))
    room.busy = True
    answers = iter([BrokerUnavailableError("the connection broke")])

    async def fail(at: str) -> None:
        if at == "publish:after" and (error := next(answers, None)) is not None:
            raise error

    room.wire.at = fail
    await room.start(replace(FAST, canary=0))
    await room.run(until=lambda: len(room.broker.copies) == 1)
    away, room.broker.ready[:] = list(room.broker.ready), []
    await room.run_for(GRACE * 1.5)
    room.broker.ready.extend(away)
    await room.run_for(GRACE * 4)
    assert len(room.broker.copies) == 1, "it waits in its queue, for everybody to see"
    room.busy = False
    await room.run()
    assert await room.counts() == {RESOLVED: 1}


async def test_what_was_seen_of_a_copy_before_a_server_went_away_is_seen_anew() -> None:
    room = Room(*letters(1))
    room.busy = True
    broken = iter([BrokerUnavailableError("the connection broke")])
    away = False

    async def fail(at: str) -> None:
        if at == "publish:after" and (error := next(broken, None)) is not None:
            raise error
        if at == "hold:before" and away:
            raise StoreUnavailableError("MongoDB does not answer")

    room.wire.at = fail
    await room.start(replace(FAST, canary=0))
    await room.run(until=lambda: len(room.broker.copies) == 1)
    room.broker.ready.clear()
    await room.run_for(GRACE * 1.5)
    away = True
    with pytest.raises(StoreUnavailableError):
        await room.runner.step()
    room.time.pass_by(GRACE * 5)
    away = False
    await room.run_for(GRACE * 0.9)
    assert len(room.broker.copies) == 1, "no news from a store that was away is no news"
    await room.run_for(GRACE * 3)
    assert len(room.broker.copies) == 2, "and then it is known to be lost"
