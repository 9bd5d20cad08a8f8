"""The demo, as a stranger runs it: a process of its own, with servers of its own, and nothing left afterwards."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.system import PROJECT

DEMO = [sys.executable, "-m", "worker", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose data folder is this test's own; whatever still runs from it fails the test."""
    data = tmp_path / "data"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOGISTICS_")}
    yield {**clean, "LOGISTICS_DATA_DIR": str(data), "COLUMNS": "100"}
    assert _running_from(data) == []


def test_the_demo_accounts_for_every_order_replays_the_outage_and_kept_serves_its_console_until_ctrl_c(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with _demo_in_the_middle(environment, tmp_path, "--orders", "300", "--keep") as demo:
        log = tmp_path / "demo.log"
        _wait_for(log, "everything keeps running", within=100)  # said only of a demo whose sums are right
        _sums_are_right(log.read_text())
        url = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())[-1]
        with urllib.request.urlopen(f"{url}/dead-letters", timeout=10) as page:  # noqa: S310 - the demo's own address
            assert b"Dead letters" in page.read()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 130


def test_ctrl_c_stops_everything_the_demo_started(environment: dict[str, str], tmp_path: Path) -> None:
    with _demo_in_the_middle(environment, tmp_path) as demo:
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 130


def test_everything_stops_when_the_parent_of_the_demo_is_killed(environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    script = f"import subprocess; subprocess.run({DEMO!r}, stdout=open({str(log)!r}, 'w'), stderr=subprocess.STDOUT)"
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment, cwd=PROJECT)
    _wait_for(log, "a normal day")
    parent.kill()
    parent.wait()
    _gone(Path(environment["LOGISTICS_DATA_DIR"]))


def test_up_leaves_a_stack_that_other_commands_find_and_down_ends_it(environment: dict[str, str]) -> None:
    def logistics(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            env=environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    try:
        assert "export LOGISTICS_AMQP_URL=" in logistics("demo", "up")
        assert "export LOGISTICS_SUPPLIER_URL=" in logistics("demo", "env")
        logistics("publish", "--order-id", "o-1", "--destination", "Oslo")
        deadline = time.monotonic() + 20
        while '"SHIPPED": 1' not in logistics("status", "--json"):
            assert time.monotonic() < deadline
    finally:
        assert logistics("demo", "down") == "stopped\n"
    assert logistics("demo", "down") == "nothing was running here\n"


def _sums_are_right(story: str) -> None:
    first, second = re.findall(r"│ sum +│ +(\d+) │ +(\d+) │ (\d+) +│ +(\d+) │", story)
    assert first[3] == second[3] == "0", "unaccounted orders"
    assert int(first[0]) == int(first[1]) + int(first[2])
    assert int(second[1]) == int(first[1]) + 6, "the orders of the north warehouse ship when they are replayed"
    assert "circuit open" in story
    assert "0 double dispatches" in story
    assert re.search(r"watch it in a browser: http://127\.0\.0\.1:\d+", story)


def _demo_in_the_middle(environment: dict[str, str], folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    log = folder / "demo.log"
    with log.open("wb") as stream:
        demo = subprocess.Popen([*DEMO, *arguments], env=environment, cwd=PROJECT, stdout=stream, stderr=stream)
    _wait_for(log, "a normal day")
    return demo


def _wait_for(log: Path, words: str, *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not log.exists() or words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _gone(data: Path) -> None:
    deadline = time.monotonic() + 30
    while _running_from(data):
        assert time.monotonic() < deadline, _running_from(data)
        time.sleep(0.1)


def _running_from(data: Path) -> list[str]:
    """The command lines and working folders of processes that have anything to do with the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            folder = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(data) in command or folder.startswith(str(data)):
            found.append(f"{process.name} in {folder}: {command}")
    return found
