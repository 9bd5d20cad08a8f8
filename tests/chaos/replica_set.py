"""Three mongods that form a replica set, each of which can be killed, frozen or told to step down."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pymongo.errors import PyMongoError

from infra.local.mongod import PrivateMongod

_SIZE = 3
_TIMEOUT_MS = 5_000
_ELECTION_MS = 2_000
"""How long a primary may be silent before the others elect another; 10 s by default."""


class Member(PrivateMongod):
    """One mongod; it is ready when it accepts connections, whoever is primary."""

    @property
    def port(self) -> int:
        return self._port

    def why_not_ready(self) -> str | None:
        try:
            with self.client(timeoutMS=_TIMEOUT_MS) as client:
                client.admin.command("ping")
        except PyMongoError as error:
            return f"it does not answer: {error}"
        return None


class ReplicaSet:
    """The three members. Clients and members know them by the addresses that are given, which may be proxies'."""

    def __init__(self, folder: Path) -> None:
        self.members = [Member(folder / str(number)) for number in range(_SIZE)]

    def start(self) -> None:
        """Start all three; `found` makes a set of them."""
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_ready()

    def found(self, addresses: Sequence[str]) -> None:
        """Make them a set under these addresses and wait for a primary."""
        members = [{"_id": number, "host": address} for number, address in enumerate(addresses)]
        settings = {"electionTimeoutMillis": _ELECTION_MS, "heartbeatIntervalMillis": 500}
        with self.members[0].client(timeoutMS=_TIMEOUT_MS) as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": settings})
        deadline = time.monotonic() + 30
        while self.primary() is None:
            assert time.monotonic() < deadline, "no primary was elected"
            time.sleep(0.2)

    def primary(self) -> Member | None:
        """Return the member that is primary, None while there is none."""
        for member in self.members:
            if member.is_running:
                try:
                    with member.client(timeoutMS=_TIMEOUT_MS) as client:
                        if client.admin.command("hello")["isWritablePrimary"]:
                            return member
                except PyMongoError:
                    continue
        return None

    def step_down(self) -> None:
        """Have the primary step down for some seconds."""
        primary = self.primary()
        if primary is not None:
            with primary.client(timeoutMS=_TIMEOUT_MS) as client:
                client.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)

    def kill(self) -> None:
        """End everything at once."""
        with ExitStack() as stack:
            for member in self.members:
                stack.callback(member.kill)
