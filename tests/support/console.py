"""`logistics console` as a process, and browsers and programs that talk to it."""

import base64
import hashlib
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from infra.console.access.access import access_of
from infra.console.access.passwords import hash_token, new_token
from infra.console.access.roles import Role
from infra.console.app import behind_gate, console_app, open_house
from tests.support.command import command_environment
from tests.support.system import PROJECT, eventually
from worker.settings import load_settings

PASSWORD = "a horse, a battery and a staple"


class ConsoleProcess:
    """A console, its log in a file."""

    def __init__(self, environment: Mapping[str, str], log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "console", *arguments],
                env=command_environment({"LOGISTICS_CONSOLE_ADDR": "127.0.0.1:0", **environment}),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=PROJECT,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.strip()]
        return [line for line in lines if line["event"] == name]

    @property
    def url(self) -> str:
        """Where it listens."""
        scheme = self.events("console.started")[0]["url"].partition("://")[0]
        return f"{scheme}://{self.events('console.started')[0]['address']}"

    async def started(self) -> None:
        def listens() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return bool(self.events("console.started"))

        await eventually(listens, timeout=30.0)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_console(environment: Mapping[str, str], log: Path, *arguments: str) -> Iterator[ConsoleProcess]:
    console = ConsoleProcess(environment, log, *arguments)
    try:
        yield console
    finally:
        console.close()


def cheap_hash(password: str) -> str:
    """What the users file keeps of a password, made in a twentieth of the usual time: the least it takes."""
    digest = hashlib.scrypt(password.encode(), salt=b"salt", n=2**14, r=8, p=1, dklen=32)
    salt, kept = (base64.urlsafe_b64encode(data).decode().rstrip("=") for data in (b"salt", digest))
    return f"scrypt:{2**14}:8:1:{salt}:{kept}"


def write_users(path: Path) -> dict[Role, str]:
    """Write a users file with a token for each role, and a person with a password; return the tokens.

    The persons: rita is a reader, anna and otto are operators, adam is an admin.
    """
    tokens = {role: new_token() for role in Role}
    lines = [f"{role}-bot {role} {hash_token(token)}" for role, token in tokens.items()]
    people = {"rita": Role.READER, "anna": Role.OPERATOR, "otto": Role.OPERATOR, "adam": Role.ADMIN}
    lines += [f"{name} {role} {cheap_hash(PASSWORD)}" for name, role in people.items()]
    path.write_text("\n".join(lines) + "\n")
    return tokens


def caller(
    url: str, token: str | None = None, *, verify: ssl.SSLContext | bool = True, **headers: str
) -> httpx.AsyncClient:
    """Return a program that calls the console, with a token if it has one."""
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=20.0, trust_env=False, verify=verify)


@dataclass(frozen=True)
class Callers:
    """Makes callers of an application."""

    app: FastAPI
    transport: httpx.ASGITransport
    url: str

    def caller(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """Return a program that calls the console, with a token if it has one."""
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, transport=self.transport)


@asynccontextmanager
async def console_here(
    environment: Mapping[str, str], *, peer: str = "127.0.0.1", url: str = "http://localhost:8080"
) -> AsyncIterator[Callers]:
    """Run the console's application in this process, between real servers and callers at the address `peer`."""
    settings = load_settings({"LOGISTICS_DATA_DIR": "/nonexistent", **environment})
    async with open_house(settings) as house:
        app = console_app(house, access_of(settings, operator="tester"))
        yield Callers(app, httpx.ASGITransport(behind_gate(app), client=(peer, 50_000)), url)
