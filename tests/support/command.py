"""`logistics …` as a process, and what it printed."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.system import PROJECT
from tests.support.warm import WarmProcess

TIMEOUT = 30.0


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """Standard output on one line, however it was wrapped."""
        return " ".join(self.out.split())


async def run(environment: Mapping[str, str], *arguments: str) -> Ran:
    """Run a command with exactly these settings; fail if any password of theirs is printed, or a traceback."""
    return await asyncio.to_thread(_run, environment, arguments)


async def replay_everything(environment: Mapping[str, str]) -> None:
    """Replay every open dead letter, as an operator does, once the job before has ended.

    A worker that performs the job must be there, or come.
    """
    deadline = time.monotonic() + TIMEOUT
    while True:
        ran = await run(environment, "replay", "start", "--all", "--yes", "--by", "tests", "--why", "mended")
        if "is active" not in ran.err or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    assert ran.code == 0, ran


def command_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: these settings and no others, 80 columns, no stack of `make up`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOGISTICS_")}
    return {**inherited, "LOGISTICS_DATA_DIR": "/nonexistent", "COLUMNS": "80", **environment}


def _run(environment: Mapping[str, str], arguments: tuple[str, ...]) -> Ran:
    settings = command_environment(environment)
    with tempfile.TemporaryDirectory(prefix="logistics-command-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        how = _cold_run if "PYTHONPATH" in environment else _warm_run  # that decides on what is imported
        code = how(settings, arguments, out, err)
        ended = Ran(code, out.read_text(), err.read_text())
    printed = ended.out + ended.err
    for name, value in environment.items():
        password = urlsplit(value).password if "://" in value else None
        assert not password or password not in printed, f"the password of {name} was printed"
    assert "Traceback" not in printed, printed
    assert "Warning:" not in ended.err, ended.err
    return ended


def _cold_run(settings: Mapping[str, str], arguments: tuple[str, ...], out: Path, err: Path) -> int:
    """Run `python -m worker`; return its exit code."""
    with out.open("w") as its_out, err.open("w") as its_err:
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=its_out,
            stderr=its_err,
            timeout=TIMEOUT,
            cwd=PROJECT,
            check=False,
        ).returncode


def _warm_run(settings: Mapping[str, str], arguments: tuple[str, ...], out: Path, err: Path) -> int:
    """Be `python -m worker` in a warm process; return its exit code."""
    process = WarmProcess(settings, arguments, out=out, err=err, cwd=PROJECT)
    try:
        return process.wait(TIMEOUT)
    finally:
        process.kill()
