"""`logistics …` as a process, and what it printed."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.system import PROJECT

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
    """Replay every open dead letter, as an operator does; a worker that performs the job must be there, or come."""
    ran = await run(environment, "replay", "start", "--all", "--yes", "--by", "tests", "--why", "mended")
    assert ran.code == 0, ran


def command_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: these settings and no others, 80 columns, no stack of `make up`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOGISTICS_")}
    return {**inherited, "LOGISTICS_DATA_DIR": "/nonexistent", "COLUMNS": "80", **environment}


def _run(environment: Mapping[str, str], arguments: tuple[str, ...]) -> Ran:
    ended = subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env=command_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=PROJECT,
        check=False,
    )
    printed = ended.stdout + ended.stderr
    for name, value in environment.items():
        password = urlsplit(value).password if "://" in value else None
        assert not password or password not in printed, f"the password of {name} was printed"
    assert "Traceback" not in printed, printed
    assert "Warning:" not in ended.stderr, ended.stderr
    return Ran(ended.returncode, ended.stdout, ended.stderr)
