"""`logistics status --watch` as people and programs use it: on a terminal, in a pipe, ended with Ctrl-C."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.command import command_environment
from tests.support.proxy import proxy_to_broker
from tests.support.system import PROJECT, System, eventually
from tests.support.terminal import on_terminal

ALTERNATE, NORMAL, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


async def test_on_a_terminal_the_picture_lives_and_ctrl_c_ends_it_and_gives_the_screen_back(system: System) -> None:
    await system.start_worker("--consumers", "dead-letters")
    async with proxy_to_broker(system.amqp_url) as broker:
        with on_terminal(system.environment(LOGISTICS_AMQP_URL=broker.url), "status", "--watch") as terminal:
            await eventually(lambda: "no consumer on orders.work; 'logistics worker' is one" in terminal.text)
            assert ALTERNATE in terminal.raw
            await system.publish_order("o-1")
            await eventually(lambda: "no consumer on orders.work: 1 message waiting" in terminal.text, timeout=5)
            broker.refuse()
            await broker.cut()
            await eventually(lambda: "! RabbitMQ not reachable since " in terminal.text)
            terminal.press(b"\x03")
            assert await terminal.ended() == 0
            assert "Traceback" not in terminal.text
            assert terminal.raw.rindex(NORMAL) > terminal.raw.rindex(ALTERNATE)
            assert CURSOR in terminal.raw[terminal.raw.rindex("\x1b[?25l") :]


async def test_a_supervisor_s_sigterm_gives_the_screen_back_too(system: System) -> None:
    with on_terminal(system.environment(), "status", "--watch", columns=46, rows=12) as terminal:
        await eventually(lambda: "more lines" in terminal.text)
        terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.ended() == 0
        assert terminal.raw.rindex(NORMAL) > terminal.raw.rindex(ALTERNATE)


@pytest.mark.parametrize("as_json", [False, True])
async def test_in_a_pipe_each_look_is_a_line_and_nothing_else_is_printed(system: System, *, as_json: bool) -> None:
    await system.start_worker()
    with piped(system, "--json" if as_json else "--watch") as process:
        assert process.stdout is not None
        lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 15) == 0
        rest, errors = await asyncio.to_thread(process.communicate)
    assert errors == ""
    assert all(line.endswith("\n") for line in [*lines, *rest.splitlines(keepends=True)])
    if as_json:
        documents = [json.loads(line) for line in lines]
        assert [document["number"] for document in documents] == [1, 2, 3]
        assert documents[-1]["problems"] == []
        assert documents[-1]["queues"][0]["name"] == "orders.work"
        assert set(documents[-1]["rates"]) >= {"published", "shipped", "failed", "to_shipped_p95"}
    else:
        assert lines[-1].rstrip().endswith(": all is well")


async def test_a_reader_that_has_seen_enough_ends_it(system: System) -> None:
    with piped(system, "--json") as process:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        process.stdout.close()
        assert await asyncio.to_thread(process.wait, 15) in {0, 1}
        assert process.stderr is not None
        assert process.stderr.read() == ""


@contextmanager
def piped(system: System, *options: str) -> "Iterator[subprocess.Popen[str]]":
    """The command with its output in a pipe."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "status", "--watch", *options],
        env=command_environment(system.environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
