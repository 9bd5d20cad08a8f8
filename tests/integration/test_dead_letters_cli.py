"""`logistics dead-letters` as a program, on a real store and a real broker."""

import asyncio
import base64
import errno
import json
import os
import pty
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from click.testing import CliRunner

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from infra.rabbitmq.topology import WORK_QUEUE, Topology
from tests.conftest import Broker, Mongo
from tests.support.letters import a_letter
from tests.support.system import PROJECT
from worker.cli.dead_letters import dead_letters
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import Shipment

OPEN, REPLAYING, RESOLVED = DeadLetterState.OPEN, DeadLetterState.REPLAYING, DeadLetterState.RESOLVED


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def run(environment: Mapping[str, str], *arguments: str) -> Finished:
    """Run `logistics dead-letters` with these arguments, its standard input no terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", "dead-letters", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env=_environment(environment),
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Finished(process.returncode, out, err.decode())


def run_on_terminal(
    environment: Mapping[str, str], *arguments: str, answer: bytes | Callable[[], bytes] = b""
) -> tuple[int, str]:
    """Run the command on a terminal of its own, and type `answer` (or what it returns) when it asks."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "dead-letters", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=PROJECT,
        env={**_environment(environment), "TERM": "dumb", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
        if answer and b"[y/N]" in shown:
            os.write(ours, answer if isinstance(answer, bytes) else answer())
            answer = b""
    os.close(ours)
    return process.wait(), shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError as error:
        if error.errno != errno.EIO:  # Linux's way to say that the other side is closed
            raise
        return b""


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LOGISTICS_")}
    return {**ours, "LOGISTICS_DATA_DIR": "/nonexistent", **settings}


@dataclass(frozen=True)
class Desk:
    """Everything an operator's command works on."""

    store: MongoDeadLetters
    shipments: MongoShipments
    environment: dict[str, str]
    amqp_url: str

    async def put(self, *letters: DeadLetterRecord) -> None:
        for letter in letters:
            await self.store.insert(letter)

    async def run(self, *arguments: str, **settings: str) -> Finished:
        return await run({**self.environment, **settings}, *arguments)

    async def state(self, letter: DeadLetterRecord) -> DeadLetterState:
        return (await self.stored(letter)).state

    async def stored(self, letter: DeadLetterRecord) -> DeadLetterRecord:
        stored = await self.store.get(letter.id)
        assert stored is not None
        return stored

    async def copies(self) -> list[aio_pika.abc.AbstractIncomingMessage]:
        """Take what is in the work queue."""
        connection = await aio_pika.connect(self.amqp_url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.get_queue(WORK_QUEUE, ensure=False)
            found = []
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                found.append(message)
            return found


@pytest.fixture
async def desk(mongo: Mongo, broker: Broker) -> AsyncIterator[Desk]:
    opened = MongoStore(mongo.uri, database=mongo.database)
    await opened.ensure_indexes()
    await Topology().ensure(broker.amqp_url)
    environment = {
        "LOGISTICS_MONGODB_URI": mongo.uri,
        "LOGISTICS_MONGODB_DATABASE": mongo.database,
        "LOGISTICS_AMQP_URL": broker.amqp_url,
    }
    yield Desk(MongoDeadLetters(opened), MongoShipments(opened), environment, broker.amqp_url)
    await opened.close()


def minutes_ago(number: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=number)


# list


async def test_list_shows_the_open_letters_newest_first(desk: Desk) -> None:
    old, new = a_letter(dead_lettered_at=minutes_ago(90)), a_letter(dead_lettered_at=minutes_ago(3))
    done = a_letter(state=RESOLVED)
    await desk.put(old, new, done)
    shown = await desk.run("list")
    assert shown.code == 0
    lines = shown.text.splitlines()
    assert lines[1].startswith(new.id)
    assert "3 min ago" in lines[1]
    assert "supplier_rejected" in lines[1]
    assert lines[2].startswith(old.id)
    assert lines[3] == "1 to 2 of 2"


async def test_list_goes_page_by_page_and_says_how(desk: Desk) -> None:
    await desk.put(*(a_letter(dead_lettered_at=minutes_ago(n)) for n in range(5)))
    first = await desk.run("list", "--limit", "2", "--json")
    last = await desk.run("list", "--limit", "2", "--page", "3", "--json")
    assert (first.json["total"], len(first.json["dead_letters"]), len(last.json["dead_letters"])) == (5, 2, 1)
    assert "1 to 2 of 5; for the next page: the same with --page 2" in (await desk.run("list", "--limit", "2")).text
    assert "No page 9" in (await desk.run("list", "--page", "9")).text


async def test_every_filter_narrows_the_list(desk: Desk) -> None:
    wanted = a_letter(
        reason="malformed",
        fingerprint="feedfeedfeed",
        order_id="A ü",
        trace_id="T",
        state=RESOLVED,
        dead_lettered_at=minutes_ago(30),
    )
    await desk.put(wanted, *(a_letter(dead_lettered_at=minutes_ago(200)) for _ in range(2)))
    filters = [
        ["--reason", "malformed", "--state", "all"],
        ["--group", "feedfeedfeed", "--state", "all"],
        ["--order-id", "A ü", "--state", "all"],
        ["--trace-id", "T", "--state", "all"],
        ["--since", "1h", "--state", "all"],
        ["--since", minutes_ago(40).isoformat(), "--until", "20m", "--state", "all"],
        ["--state", "resolved"],
    ]
    shown = await asyncio.gather(*(desk.run("list", "--json", *options) for options in filters))
    for options, answer in zip(filters, shown, strict=True):
        assert [letter["id"] for letter in answer.json["dead_letters"]] == [wanted.id], options


async def test_a_list_of_nothing_is_no_failure(desk: Desk) -> None:
    shown = await desk.run("list")
    assert (shown.code, shown.text) == (0, "No dead letters match.\n")
    assert (await desk.run("list", "--json")).json == {"total": 0, "page": 1, "limit": 50, "dead_letters": []}


async def test_a_narrow_terminal_shows_ids_as_short_as_they_are_unambiguous(desk: Desk) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    twin = first[:9] + ("0" if first[9] != "0" else "1") + first[10:]
    await desk.put(a_letter(id=first), a_letter(id=second), a_letter(id=twin, state=RESOLVED))
    _, shown = await asyncio.to_thread(run_on_terminal, desk.environment, "list")
    assert f"{first[:10]} " in shown
    assert f"{second[:10]} " in shown
    assert first not in shown
    assert (await desk.run("show", first[:10])).code == 0


# show


async def test_show_tells_everything_about_a_letter_and_its_shipment(desk: Desk) -> None:
    letter = a_letter(
        dead_lettered_at=minutes_ago(3), headers={"x-tenant": "acme", "origin_routing_key": "order.placed"}
    )
    await desk.put(letter)
    shipment = Shipment.for_order(str(letter.order_id), "Oslo", trace_id="t", now=minutes_ago(10))
    shipment.record_failed_try(OSError("boom"), now=minutes_ago(5), attempt=1, worker="w-1", delay=5.0)
    await desk.shipments.start_shipment(shipment)
    shown = await desk.run("show", letter.id[:12])
    assert shown.code == 0
    for part in (
        *(letter.id, "open", "supplier_rejected", letter.order_id, letter.trace_id, letter.fingerprint),
        *("(3 min ago)", "UTC", "SupplierRejectedError: unknown address", "x-tenant: acme"),
        *("PENDING, 1 failed try", "received", "attempt_failed", "try 1 · OSError: boom · next try in 5.0 s"),
        *("filed", f'  "order_id": "{letter.order_id}",'),
    ):
        assert str(part) in shown.text, part
    times = [event["event"]["at"] for event in (await desk.run("show", letter.id, "--json")).json["timeline"]]
    assert len(times) == 3
    assert times == sorted(times)


async def test_show_raw_is_the_body_byte_for_byte(desk: Desk) -> None:
    letter = a_letter(body=b'\x00\xff\r\n\x1b[2J{"a" : 1.10}\n')
    await desk.put(letter)
    assert await desk.run("show", letter.id, "--raw") == Finished(0, letter.body, "")


async def test_show_escapes_what_is_not_printable(desk: Desk) -> None:
    letter = a_letter(body=b"\x00\xff\x1b[2J", error_message="bad \x1b[2J [red]", error_chain=(), order_id=None)
    await desk.put(letter)
    shown = await desk.run("show", letter.id)
    assert "\x1b" not in shown.text
    assert "  \\x00\\xff\\x1b[2J\n" in shown.text
    assert "bad \\x1b[2J [red]" in shown.text
    assert "\x1b" not in (await desk.run("list")).text


async def test_show_of_an_ambiguous_or_unknown_id_fails_with_candidates(desk: Desk) -> None:
    twins = [a_letter(id=f"aaaaaaaa-0000-0000-0000-00000000000{n}") for n in range(2)]
    await desk.put(*twins)
    ambiguous = await desk.run("show", "AAAA")
    assert (ambiguous.code, ambiguous.out) == (1, b"")
    assert all(letter.id in ambiguous.err for letter in twins)
    for text in ("bbbb", str(uuid.uuid4()), ".*", ""):
        unknown = await desk.run("show", text)
        assert unknown.code == 1
        assert "no dead letter has an id that begins with" in unknown.err


# groups and export


async def test_groups_count_by_fingerprint(desk: Desk) -> None:
    many = [a_letter(fingerprint="aaaaaaaaaaaa", dead_lettered_at=minutes_ago(n)) for n in range(3)]
    await desk.put(*many, a_letter(fingerprint="bbbbbbbbbbbb", reason="malformed"))
    shown = await desk.run("groups")
    assert shown.code == 0
    assert shown.text.splitlines()[1].split()[:3] == ["aaaaaaaaaaaa", "3", "supplier_rejected"]
    assert shown.text.splitlines()[-1] == "4 dead letters in 2 groups"
    first, second = (await desk.run("groups", "--json")).json["groups"]
    assert (first["fingerprint"], first["count"], first["example_id"]) == ("aaaaaaaaaaaa", 3, many[0].id)
    assert (second["count"], second["reason"]) == (1, "malformed")


async def test_export_writes_every_letter_whole_as_a_line_of_json(desk: Desk, tmp_path: Path) -> None:
    letters = [a_letter(dead_lettered_at=minutes_ago(n), body=b"\xff%d" % n) for n in range(45)]
    letters[0] = replace(letters[0], body='{"ü": 1}'.encode())
    await desk.put(*letters)
    answer = await desk.run("export")
    assert answer.code == 0
    assert answer.err == "45 dead letters exported\n"
    read = [json.loads(line) for line in answer.text.splitlines()]
    assert [letter["id"] for letter in read] == [letter.id for letter in letters]
    assert [base64.b64decode(letter["body_base64"]) for letter in read] == [letter.body for letter in letters]
    assert (read[0]["body_text"], read[1]["body_text"]) == ('{"ü": 1}', None)
    file = tmp_path / "letters.jsonl"
    assert (await desk.run("export", "--output", str(file))).out == b""
    assert file.read_bytes() == answer.out
    assert [path.name for path in tmp_path.glob("*")] == [file.name]  # noqa: ASYNC240 - two files


async def test_an_export_that_cannot_be_written_fails(desk: Desk, tmp_path: Path) -> None:
    answer = await desk.run("export", "--output", str(tmp_path / "missing" / "letters.jsonl"))
    assert answer.code == 1
    assert "cannot write" in answer.err


# wrong use and servers that are away


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--reason", "no-such-reason"],
        ["list", "--since", "yesterday"],
        ["list", "--since", "1h", "--until", "2h"],
        ["list", "--page", "0"],
        ["list", "--order-id", "\udcff"],
        ["show"],
        ["show", "some-id", "--raw", "--json"],
    ],
)
def test_wrong_use_is_told_before_anything_is_done(arguments: list[str]) -> None:
    answer = CliRunner().invoke(dead_letters, arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "Error: " in answer.stderr


@pytest.mark.parametrize("command", ["list", "show", "groups", "export"])
def test_every_command_explains_itself_with_examples(command: str) -> None:
    answer = CliRunner().invoke(dead_letters, [command, "--help"])
    assert answer.exit_code == 0
    assert f"  logistics dead-letters {command}" in answer.output.partition("Examples:")[2]


async def test_without_a_store_the_command_fails_with_one_line(desk: Desk) -> None:
    answer = await desk.run(
        "list", LOGISTICS_MONGODB_URI="mongodb://127.0.0.1:1/?replicaSet=rs0", LOGISTICS_STORE_TIMEOUT="500ms"
    )
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, b"", 1)


async def test_without_a_setting_the_command_is_wrong_use(desk: Desk) -> None:
    answer = await run({}, "list")
    assert answer.code == 2
    assert "LOGISTICS_MONGODB_URI is not set" in answer.err
