"""A place of a supervisor and the process in it: ends, and a loop that hangs."""

import asyncio
import errno
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.telemetry.process_pages import ProcessPages
from tests.support.command import command_environment
from tests.support.system import eventually
from worker.back_off import LIVED_WELL, BackOff
from worker.child_process import ChildProcess, in_words
from worker.place import TOO_MANY_ENDS, Place


@asynccontextmanager
async def kept(place: Place, *, begun: asyncio.Event, stop: asyncio.Event) -> AsyncIterator["asyncio.Task[int]"]:
    keeping = asyncio.create_task(place.keep(stop=stop, begun=begun, drain_timeout=1.0))
    try:
        yield keeping
    finally:
        stop.set()
        await keeping


def place_without_addresses() -> Place:
    """Its processes end at once, with exit code 2: they have no address of a server."""
    return Place(7, arguments=(), environment=command_environment({}), back_off=BackOff(first=0.01, longest=0.05))


async def test_what_ends_with_an_exit_code_before_any_has_begun_is_not_started_again() -> None:
    async with kept(place_without_addresses(), begun=asyncio.Event(), stop=asyncio.Event()) as keeping:
        assert await asyncio.wait_for(keeping, 10) == 2


async def test_what_keeps_ending_later_on_is_started_again_each_time_and_is_not_live_after_some_ends() -> None:
    place, begun = place_without_addresses(), asyncio.Event()
    begun.set()
    async with kept(place, begun=begun, stop=asyncio.Event()):
        assert await place.why_not_live() is None
        await eventually(place.why_not_live)
        said = await place.why_not_live()
        assert said is not None
        assert said.endswith("times in a row, the last time ended with exit code 2")
        assert int(said.split()[1]) >= TOO_MANY_ENDS
        assert await place.why_not_ready() == "not running, or not yet answering"
        assert (await place.state()).restarts >= TOO_MANY_ENDS - 1


async def test_a_stop_ends_the_pause_before_the_next_start() -> None:
    place = Place(7, arguments=(), environment=command_environment({}), back_off=BackOff(first=3600, longest=3600))
    begun, stop = asyncio.Event(), asyncio.Event()
    begun.set()
    async with kept(place, begun=begun, stop=stop) as keeping:
        await asyncio.sleep(0)
        await eventually(lambda: _has_ended(place))
        stop.set()
        assert await asyncio.wait_for(keeping, 1) == 0


async def test_one_that_cannot_be_started_again_after_a_long_life_is_not_live_after_some_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = await asyncio.create_subprocess_exec("/bin/true")
    old = ChildProcess(7, process, ProcessPages("127.0.0.1:1"))
    old._started -= 2 * LIVED_WELL
    starts = iter([old])

    async def start(*_: object) -> ChildProcess:
        child = next(starts, None)
        if child is None:
            raise OSError(errno.EAGAIN, "no more processes")
        return child

    monkeypatch.setattr("worker.place.ChildProcess.start", start)
    place, begun = place_without_addresses(), asyncio.Event()
    begun.set()
    async with kept(place, begun=begun, stop=asyncio.Event()):
        await eventually(place.why_not_live)
        said = await place.why_not_live()
        assert said is not None
        assert said.endswith("times in a row, the last time it could not be started")


async def test_no_module_of_the_folder_it_is_started_in_is_taken_for_the_programs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("worker", "click", "infra"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the folder')\n")
    monkeypatch.chdir(tmp_path)
    child = await ChildProcess.start(7, ["--help"], command_environment({}), ProcessPages("127.0.0.1:1"))
    assert await asyncio.wait_for(child.ended(), 20) == 0


async def test_a_process_can_be_started_although_the_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    child = await ChildProcess.start(7, ["--help"], command_environment({}), ProcessPages("127.0.0.1:1"))
    assert await asyncio.wait_for(child.ended(), 20) == 0


async def test_a_process_that_does_not_answer_any_more_is_killed() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    child = ChildProcess(1, process, ProcessPages("127.0.0.1:1"))
    watching = asyncio.create_task(child.watch(asyncio.Event(), hung_after=0.3))
    assert await asyncio.wait_for(child.ended(), 10) == -signal.SIGKILL
    watching.cancel()


async def test_a_process_that_does_not_drain_is_killed_after_a_while() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", deaf, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    child = ChildProcess(1, process, ProcessPages("127.0.0.1:1"))
    await child.drain(0.1, to_close=0.2)
    assert await child.ended() == -signal.SIGKILL


def test_an_end_is_told_in_words() -> None:
    assert in_words(-signal.SIGKILL) == "killed by SIGKILL"
    assert in_words(1) == "ended with exit code 1"


def _has_ended(place: Place) -> bool:
    return place._back_off.ends == 1
