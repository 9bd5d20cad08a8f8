"""`logistics supplier-simulator` as a process."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from infra.supplier.simulator_behaviour import Rule
from tests.support.command import TIMEOUT, command_environment, run
from tests.support.system import PROJECT, eventually

Start = Callable[..., Awaitable["Simulator"]]


class Simulator:
    """The running command; its output is in a file."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "supplier-simulator", "--port", "0", *arguments],
                env=command_environment({}),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=PROJECT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        return self.output.splitlines()[0].rpartition(" ")[2]

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        def ask() -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"{self.url}{path}", method=method, data=data)  # noqa: S310 - our own
            with _opener.open(request, timeout=5) as response:
                return json.load(response)

        return await asyncio.to_thread(ask)

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, TIMEOUT)


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    started: list[Simulator] = []

    async def start_one(*arguments: str) -> Simulator:
        simulator = Simulator(tmp_path / f"simulator-{len(started)}.log", *arguments)
        started.append(simulator)
        await eventually(lambda: "Ctrl-C ends it." in simulator.output)
        return simulator

    yield start_one
    for simulator in started:
        simulator.process.kill()
        simulator.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_is_and_how_to_change_it_and_ends_well_on_a_signal(
    start: Start, number: signal.Signals
) -> None:
    simulator = await start()
    assert f"export LOGISTICS_SUPPLIER_URL={simulator.url}" in simulator.output
    assert f"curl -X PATCH {simulator.url}/simulator/behaviour" in simulator.output
    assert (await simulator.ask("GET", "/simulator/behaviour"))["outage"] is False
    assert (await simulator.ask("PATCH", "/simulator/behaviour", {"outage": True}))["outage"] is True
    assert await simulator.end(number) == 0
    assert simulator.output.endswith("\nstopped\n")


async def test_every_option_reaches_the_behaviour_and_options_go_before_the_file(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "behaviour.json"
    file.write_text(json.dumps({"latency": 3, "seed": 1, "rules": [{"match": "NO-*", "refuse": True}]}))
    options = ["--behaviour", str(file), "--latency", "20ms", "--latency-jitter", "1", "--retry-after", "7"]
    rates = ("failure", "refusal", "timeout", "reset", "cut", "throttle")
    options += [part for rate in rates for part in (f"--{rate}-rate", "0.1")]
    options += ["--outage", "--no-honour-idempotency", "--retry-after-as-date", "--dispatch-before-failure"]
    simulator = await start(*options, "--dispatch-before-timeout", "--dispatch-before-reset")
    behaviour = await simulator.ask("GET", "/simulator/behaviour")
    assert [rule["match"] for rule in behaviour.pop("rules")] == ["NO-*"]
    assert behaviour == {
        "latency": 0.02,
        "latency_jitter": 1.0,
        **{f"{rate}_rate": 0.1 for rate in rates},
        "dispatch_before_failure": True,
        "dispatch_before_timeout": True,
        "dispatch_before_reset": True,
        "retry_after": 7,
        "retry_after_as_date": True,
        "outage": True,
        "honour_idempotency": False,
        "seed": 1,
    }


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--failure-rate", "1.5"], "failure_rate: should be less than or equal to 1"),
        (["--failure-rate", "0.6", "--cut-rate", "0.6"], "the rates add up to 1.2, more than 1"),
        (["--latency", "soon"], "'soon' is not a duration"),
        (["--latency", "2h"], "latency: should be less than or equal to 3600"),
        (["--port", "70000"], "--port"),
        (["--behaviour", "/nonexistent.json"], "does not exist"),
    ],
)
async def test_a_behaviour_that_cannot_be_is_wrong_use(options: list[str], complaint: str) -> None:
    ran = await run({}, "supplier-simulator", *options)
    assert (ran.code, ran.out) == (2, "")
    assert complaint in ran.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "is not JSON"), ("[]", "must be an object"), ('{"latncy": 1}', "latncy: there is no such setting")],
)
async def test_a_file_that_is_no_behaviour_is_wrong_use(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "behaviour.json"
    file.write_text(text)
    ran = await run({}, "supplier-simulator", "--behaviour", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert complaint in ran.err


async def test_the_help_names_what_a_rule_can_say_and_where_to_change_it() -> None:
    told = (await run({}, "supplier-simulator", "--help")).out
    assert all(name in told for name in Rule.model_fields)
    assert "PATCH /simulator/behaviour" in told
    assert "/simulator/stats" in told


async def test_a_port_in_use_is_a_failure_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = await run({}, "supplier-simulator", "--port", str(taken.getsockname()[1]))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Error: the supplier simulator cannot listen on 127.0.0.1:")
    assert ran.err.count("\n") == 1
