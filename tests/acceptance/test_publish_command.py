"""`logistics publish` and `logistics schema` as processes, with a real broker."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from infra.rabbitmq.topology import Topology
from tests.conftest import Broker
from tests.support.command import command_environment
from tests.support.messages import take_all, waiting
from tests.support.proxy import Proxy, proxy_to_broker
from tests.support.system import PROJECT, eventually
from worker.domain.order import parse_order

MANY = int(os.environ.get("LOGISTICS_TEST_LINES", "20000"))
"""Lines of the long file; 100000 for the full check."""
PIPE = 256 * 1024
"""Bytes of typed lines that wait for a publisher which does not read on; more would stop the test itself."""
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# The peak memory of a command, on its standard error after all else. Measured by a small process in between: the peak
# that the kernel reports of a process is never less than its parent's at the start.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


class Publishing:
    """`logistics publish …` while it runs and after."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder

    @property
    def out(self) -> str:
        return (self._folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self._folder / "err").read_text()

    @property
    def document(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def peak(self) -> int:
        """The most memory it had, in the kernel's unit; for a command started with `measured`."""
        return int(self.err.splitlines()[-1].removeprefix("peak "))

    def type(self, data: bytes) -> None:
        """Write to its standard input, which stays open."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    async def ended(self, *, timeout: float = 60.0) -> int:
        """Return its exit code. Whatever happened, it has not shown a traceback or a password."""
        code = await asyncio.to_thread(self.process.wait, timeout)
        for word in ("Traceback", "Fatal Python error", "Warning:", "never retrieved", ":***@"):
            assert word not in self.out + self.err
        return code


class Publisher:
    """Starts `logistics publish` for one broker."""

    def __init__(self, amqp_url: str, folder: Path) -> None:
        self.amqp_url = amqp_url
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self, *arguments: str, amqp_url: str | None = None, measured: bool = False, stderr: int | None = None
    ) -> Publishing:
        url = self.amqp_url if amqp_url is None else amqp_url
        folder = self._folder / f"run-{len(self._processes)}"
        folder.mkdir()
        command = [sys.executable, "-m", "worker", "publish", *arguments]
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-c", MEASURE, *command] if measured else command,
                env=command_environment({"TERM": "xterm", "LOGISTICS_AMQP_URL": url}),
                stdin=subprocess.PIPE,
                pipesize=PIPE,
                stdout=out,
                stderr=err if stderr is None else stderr,
                cwd=PROJECT,
            )
        self._processes.append(process)
        return Publishing(process, folder)

    async def run(self, *arguments: str, stdin: bytes = b"", amqp_url: str | None = None) -> tuple[int, Publishing]:
        """Run it to its end, with this standard input."""
        publishing = self.start(*arguments, amqp_url=amqp_url)
        await asyncio.to_thread(publishing.process.communicate, stdin, 60)
        return await publishing.ended(), publishing

    def file(self, lines: Iterator[bytes]) -> str:
        """Return the path of a new file with these lines."""
        path = self._folder / f"orders-{len(list(self._folder.iterdir()))}.jsonl"
        with path.open("wb") as file:
            file.writelines(line + b"\n" for line in lines)
        return str(path)

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            with process:
                pass


@pytest.fixture
async def publisher(broker: Broker, tmp_path: Path) -> AsyncIterator[Publisher]:
    await Topology().ensure(broker.amqp_url)
    starts = Publisher(broker.amqp_url, tmp_path)
    yield starts
    starts.close()


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[Proxy]:
    async with proxy_to_broker(broker.amqp_url) as proxy:
        yield proxy


def orders(count: int, *, start: int = 1) -> Iterator[bytes]:
    for number in range(start, start + count):
        yield b'{"order_id":"o-%d","destination":"Musterstra\xc3\x9fe %d, Berlin","weight_kg":2.5}' % (number, number)


async def order_ids(amqp_url: str) -> list[str]:
    return [parse_order(message.body).order_id for message in await take_all(amqp_url)]


async def test_one_order_by_options(publisher: Publisher) -> None:
    fields = [
        "--field",
        "weight_kg=2.5",
        "--field",
        'tags=["a","b"]',
        "--field",
        "note=hello world",
        "--field",
        "zip=01",
    ]
    code, run = await publisher.run("--order-id", "A-1", "--destination", "Ørsta", *fields, "--json")
    assert (code, run.err) == (0, "")
    (message,) = await take_all(publisher.amqp_url)
    assert json.loads(message.body) == {
        "order_id": "A-1",
        "destination": "Ørsta",
        "weight_kg": 2.5,
        "tags": ["a", "b"],
        "note": "hello world",
        "zip": "01",
    }
    assert run.document == {
        "order_id": "A-1",
        "message_id": message.message_id,
        "trace_id": message.headers["trace_id"],
        "traceparent": message.headers["traceparent"],
    }


async def test_one_order_for_people_with_a_given_trace(publisher: Publisher) -> None:
    trace = ["--trace-id", "shop-42", "--traceparent", TRACEPARENT]
    code, run = await publisher.run("--order-id", "A-1", "--destination", "Oslo", *trace)
    assert code == 0
    assert run.out.startswith("Published order A-1\n")
    assert "shop-42" in run.out
    assert TRACEPARENT in run.out


async def test_an_order_that_is_none_is_refused(publisher: Publisher) -> None:
    code, run = await publisher.run("--order-id", "", "--destination", "Oslo", "--json")
    assert (code, run.out) == (1, "")
    assert run.err.startswith("logistics: order_id: ")
    assert await waiting(publisher.amqp_url) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give --order-id and --destination for one order, or --file for many"),
        (["--order-id", "1"], "give --order-id and --destination"),
        (["--file", "-", "--order-id", "1"], "--order-id is for one order only"),
        (["--file", "-", "--field", "a=1"], "--field is for one order only"),
        (["--order-id", "1", "--destination", "x", "--strict"], "--strict is for --file only"),
        (["--order-id", "1", "--destination", "x", "--field", "a"], "write it as name=value"),
        (["--order-id", "1", "--destination", "x", "--field", "a=1", "--field", "a=2"], "'a' is given twice"),
        (["--order-id", "1", "--destination", "x", "--field", "order_id=2"], "'order_id' is given twice"),
        (["--order-id", "1", "--destination", "x", "--trace-id", "a\tb"], "a trace id has 1 to 128 characters"),
        (["--order-id", "1", "--destination", "x", "--traceparent", "zz"], "a traceparent looks like"),
        (["--file", "/nonexistent"], "does not exist"),
        (["--file", "-", "--in-flight", "0"], "--in-flight"),
        (["--file", "-", "--from-line", "0"], "--from-line"),
        (["--file", "-", "--give-up-after", "soon"], "is not a duration"),
    ],
)
async def test_wrong_use_is_told_and_exits_with_2(publisher: Publisher, arguments: list[str], complaint: str) -> None:
    code, run = await publisher.run(*arguments)
    assert (code, run.out) == (2, "")
    assert complaint in run.err


async def test_without_a_broker_in_the_settings_it_says_which_one_is_missing(publisher: Publisher) -> None:
    code, run = await publisher.run("--order-id", "1", "--destination", "x", amqp_url="")
    assert (code, run.out) == (2, "")
    assert run.err.startswith("logistics: LOGISTICS_AMQP_URL is not set")


async def test_good_lines_are_published_and_the_others_are_told_by_number(publisher: Publisher) -> None:
    lines = [*orders(3), b"", b"nonsense", b'{"order_id":"x"}', *orders(2, start=4), b"\xff"]
    code, run = await publisher.run("--file", "-", stdin=b"\n".join(lines))
    assert code == 1
    assert run.err.splitlines() == [
        "line 5: the body is not JSON: Expecting value: line 1 column 1 (char 0)",
        "line 6: destination: Field required",
        "line 9: the body is not UTF-8 (byte 0)",
    ]
    assert re.fullmatch(r"Published 5 orders in \d+\.\d s \([\d,]+/s\); 3 refused\.\n", run.out)
    arrived = await take_all(publisher.amqp_url)
    assert sorted(message.body for message in arrived) == sorted(orders(5))


async def test_strict_stops_at_the_first_line_that_is_no_order(publisher: Publisher) -> None:
    path = publisher.file(iter([*orders(2), b"{}", *orders(2, start=3)]))
    code, run = await publisher.run("--file", path, "--strict", "--json")
    assert code == 1
    assert run.err.splitlines()[0] == "line 3: order_id: Field required; destination: Field required"
    assert "resume with --from-line 3" in run.err
    assert run.document["resume_from_line"] == 3
    assert run.document["published"] == 2
    assert sorted(await order_ids(publisher.amqp_url)) == ["o-1", "o-2"]


@pytest.mark.timeout(600)
async def test_a_long_file_is_published_whole_and_memory_does_not_grow_with_it(publisher: Publisher) -> None:
    peaks = []
    for count in (MANY // 5, MANY):
        run = publisher.start("--file", publisher.file(orders(count)), "--json", measured=True)
        assert await run.ended(timeout=500) == 0
        expected = {"published": count, "refused": 0, "complete": True, "error": None, "resume_from_line": None}
        assert expected.items() <= run.document.items()
        assert run.document["rate"] == pytest.approx(count / run.document["seconds"], rel=0.01)
        peaks.append(run.peak)
    assert await waiting(publisher.amqp_url) == MANY // 5 + MANY
    assert peaks[1] < 1.15 * peaks[0]


async def test_a_line_far_too_long_is_refused_and_never_in_memory(publisher: Publisher) -> None:
    path = publisher.file(iter([*orders(1), b'{"order_id":"' + b"x" * 64_000_000 + b'"}', *orders(1, start=2)]))
    run = publisher.start("--file", path, measured=True)
    small = publisher.start("--file", publisher.file(orders(2)), measured=True)
    assert (await run.ended(), await small.ended()) == (1, 0)
    assert run.err.splitlines()[0] == "line 2: the line is longer than 1048576 bytes"
    assert await waiting(publisher.amqp_url) == 4
    assert run.peak < 1.3 * small.peak


async def test_a_pipe_shows_plain_lines_every_few_seconds(publisher: Publisher) -> None:
    run = publisher.start("--file", "-")
    for line in orders(400):
        run.type(line + b"\n")
        await asyncio.sleep(0.1)
        if run.err:  # on a busy machine the start alone takes seconds
            break
    run.process.communicate()
    assert await run.ended() == 0
    assert re.fullmatch(r"(\d+ confirmed, \d+/s\n)+", run.err)


async def test_a_terminal_shows_a_bar_and_the_refused_lines_above_it(publisher: Publisher) -> None:
    terminal, inner = os.openpty()
    lines = iter([*orders(2), b"[/bold]", *orders(2, start=3)])
    run = publisher.start("--file", publisher.file(lines), stderr=inner)
    os.close(inner)
    assert await run.ended() == 1
    shown = os.read(terminal, 64 * 1024).decode()
    os.close(terminal)
    assert "\u2501\u2501\u2501" in shown
    assert "line 3: the body is not JSON" in shown
    assert run.out.startswith("Published 4 orders in ")


async def test_when_the_broker_goes_away_for_good_the_line_to_resume_from_is_named(
    publisher: Publisher, proxy: Proxy
) -> None:
    path = publisher.file(orders(1500))
    run = publisher.start("--file", "-", "--give-up-after", "5s", "--json", amqp_url=proxy.url)
    run.type(b"".join(line + b"\n" for line in orders(1000)))
    await eventually(lambda: waits_at_least(publisher.amqp_url, 300))
    proxy.hold()  # from here on nothing is confirmed, however fast the machine is
    run.type(b"".join(line + b"\n" for line in orders(500, start=1001)))  # less than the pipe holds
    await proxy.close()
    assert await run.ended() == 1
    assert "; trying again\n" in run.err
    resume = run.document["resume_from_line"]
    assert f"Line {resume} is the first that is not confirmed: resume with --from-line {resume}." in run.err
    assert "not confirmed within 5 s" in run.document["error"]
    assert run.document["complete"] is False
    assert 1 < resume <= 1500
    first = set(await order_ids(publisher.amqp_url))
    assert first >= {f"o-{number}" for number in range(1, resume)}

    code, again = await publisher.run("--file", path, "--from-line", str(resume), "--json")
    assert (code, again.document["published"]) == (0, 1500 - resume + 1)
    assert first | set(await order_ids(publisher.amqp_url)) == {f"o-{number}" for number in range(1, 1501)}


async def test_a_broker_that_comes_back_in_time_costs_no_order_and_no_exit_code(
    publisher: Publisher, proxy: Proxy
) -> None:
    run = publisher.start("--file", publisher.file(orders(3000)), "--json", amqp_url=proxy.url)
    await eventually(lambda: waits_at_least(publisher.amqp_url, 300))
    await proxy.close()
    await asyncio.sleep(1.0)
    await proxy.listen()
    assert await run.ended() == 0
    assert run.document["published"] == 3000
    assert set(await order_ids(publisher.amqp_url)) == {f"o-{number}" for number in range(1, 3001)}


async def test_without_the_queues_it_stops_at_once_and_says_how_to_make_them(broker: Broker, tmp_path: Path) -> None:
    publisher = Publisher(broker.amqp_url, tmp_path)
    code, run = await publisher.run("--file", publisher.file(orders(1000)), "--json")
    publisher.close()
    assert code == 1
    assert "run 'logistics topology declare' or start a worker" in run.document["error"]
    assert (run.document["published"], run.document["resume_from_line"]) == (0, 1)


async def test_ctrl_c_says_what_is_confirmed_even_while_it_waits_for_input(publisher: Publisher) -> None:
    run = publisher.start("--file", "-")
    run.type(b"".join(line + b"\n" for line in orders(3)))
    await eventually(lambda: waits_at_least(publisher.amqp_url, 3))
    run.interrupt()
    assert await run.ended() == 1
    assert run.out.startswith("Published 3 orders in ")
    assert "logistics: interrupted\nLine 4 is the first that is not confirmed: resume with --from-line 4." in run.err


async def test_the_second_ctrl_c_does_not_wait_for_the_broker(publisher: Publisher, proxy: Proxy) -> None:
    run = publisher.start("--file", "-", "--json", amqp_url=proxy.url)
    run.type(b"".join(line + b"\n" for line in orders(3)))
    await eventually(lambda: waits_at_least(publisher.amqp_url, 3))
    proxy.hold()
    run.type(b"".join(line + b"\n" for line in orders(3, start=4)))
    await asyncio.sleep(0.5)
    run.interrupt()
    await eventually(lambda: "Ctrl-C again ends at once" in run.err)
    await asyncio.sleep(0.5)
    assert run.process.poll() is None
    run.interrupt()
    assert await run.ended(timeout=20) == 1
    assert run.document["published"] == 3
    assert run.document["resume_from_line"] == 4


def test_the_schema_command_prints_a_schema_and_nothing_else() -> None:
    for arguments in ([], ["--json"]):
        ended = subprocess.run(
            [sys.executable, "-m", "worker", "schema", *arguments],
            env=command_environment({}),
            capture_output=True,
            timeout=60,
            cwd=PROJECT,
            check=True,
        )
        schema = json.loads(ended.stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["title"] == "Order"
        assert ended.stderr == b""


async def waits_at_least(amqp_url: str, count: int) -> bool:
    return await waiting(amqp_url) >= count
