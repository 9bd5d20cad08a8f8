"""Passwords planted in all three addresses, everything made to fail: then all that came out is searched for them."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, build_opener

import pytest

from infra.local.management import Management
from tests.conftest import Broker, Mongo
from tests.support.command import run
from tests.support.messages import take_all
from tests.support.system import System, WorkerProcess, eventually

pytestmark = pytest.mark.cold

MARK = "Zq7X"
"""In every password, right or wrong, written so that no encoding of an address changes it."""
SUPPLIER_LOGIN = f"shop:{MARK}-supplier/p@ss:w?rd"
NEEDLES = (MARK.encode(), base64.b64encode(SUPPLIER_LOGIN.encode()), base64.b64encode(MARK.encode())[:5])


@dataclass
class Found:
    """Everything that came out, by where."""

    texts: dict[str, bytes] = field(default_factory=dict)

    def add(self, where: str, text: object) -> None:
        self.texts[f"{where} ({len(self.texts)})"] = text if isinstance(text, bytes) else str(text).encode()

    def with_secrets(self) -> dict[str, bytes]:
        return {where: text for where, text in self.texts.items() if any(needle in text for needle in NEEDLES)}


@pytest.fixture
def addresses(rabbitmq: tuple[str, str], broker: Broker, mongo: Mongo, system: System) -> Iterator[dict[str, str]]:
    """The three addresses with passwords that have to be written with percent signs, for users that exist."""
    name = f"planted-{uuid.uuid4().hex[:8]}"
    login, management_port = urlsplit(rabbitmq[0]), urlsplit(rabbitmq[1]).port or 15672
    management = Management(management_port, login.username or "", login.password or "")
    password = f"{MARK}-broker/p@ss:w?rd"
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    management._request("PUT", f"/api/users/{name}", {"password": password, "tags": ""})
    management._request("PUT", f"/api/permissions/{broker.vhost}/{name}", everything)
    roles = [{"role": "readWrite", "db": mongo.database}]
    system.client.admin.command("createUser", name, pwd=f"{MARK}-store/p@ss:w?rd", roles=roles)
    store = urlsplit(mongo.uri)
    try:
        yield {
            "AMQP_URL": f"amqp://{name}:{quote(password, safe='')}@{login.hostname}:{login.port}/{broker.vhost}",
            "MONGODB_URI": store._replace(
                netloc=f"{name}:{quote(f'{MARK}-store/p@ss:w?rd', safe='')}@{store.netloc}",
                query=f"{store.query}&authSource=admin",
            ).geturl(),
            "SUPPLIER_URL": supplier_url(system.supplier.url),
        }
    finally:
        management._request("DELETE", f"/api/users/{name}")
        system.client.admin.command("dropUser", name)


def supplier_url(url: str) -> str:
    user, _, password = SUPPLIER_LOGIN.partition(":")
    return url.replace("http://", f"http://{user}:{quote(password, safe='')}@")


async def test_no_planted_secret_comes_out_anywhere(
    system: System, addresses: Mapping[str, str], tmp_path: Path
) -> None:
    found = Found()
    wrong = {name: address.replace(MARK, f"wrong-{MARK}") for name, address in addresses.items()}
    system.settings |= {"LOGISTICS_LOG_LEVEL": "DEBUG", "LOGISTICS_STORE_TIMEOUT": "2s"}
    system.settings |= files_of(addresses, tmp_path / "right")
    system.supplier.change(rules=[{"match": "refused", "refuse": True}, {"match": "retried", "fail_first": 1}])

    no_broker = await system.start_worker(wait=False, LOGISTICS_AMQP_URL=wrong["AMQP_URL"], LOGISTICS_AMQP_URL_FILE="")
    no_store = await system.start_worker(
        wait=False, LOGISTICS_MONGODB_URI=wrong["MONGODB_URI"], LOGISTICS_MONGODB_URI_FILE=""
    )
    await eventually(lambda: len(no_broker.events("broker.unreachable")) >= 3 and no_store.events("store.unreachable"))
    assert "refuses the user" in no_broker.events("broker.unreachable")[0]["error"]
    assert "refuses the user" in no_store.events("store.unreachable")[0]["error"]
    await look_at(found, no_broker, no_store)

    worker = await system.start_worker()
    found.add("environment of a worker with files", process_file(worker, "environ"))
    for order_id in ("shipped", "refused", "retried"):
        await system.publish_order(order_id)
    await system.shipped("shipped", "retried")
    await eventually(lambda: system.letters(state="open"))
    (letter,) = system.letters()
    right = system.environment()
    await run_all(
        found, right, [0, 0, 0, 0],
        ["status"], ["doctor", "--json"], ["dead-letters", "show", letter["_id"]],
        ["publish", "--order-id", "by hand", "--destination", "Oslo"],
    )  # fmt: skip
    replay = ["replay", "start", "--all", "--yes", "--by", "tests", "--why", "again", "--wait", "20s"]
    await run_all(found, right, [1], replay)  # it is refused again
    await look_at(found, worker)

    await run_all(
        found, system.environment(**files_of(wrong, tmp_path / "wrong")), [1, 1, 1, 1, 1],
        ["status"], ["doctor"], ["dead-letters", "list"], replay,
        ["publish", "--order-id", "o-1", "--destination", "Oslo", "--give-up-after", "1s"],
    )  # fmt: skip
    broken = {name: address.replace("@", "@[") for name, address in addresses.items()}
    await run_all(found, system.environment(**files_of(broken, tmp_path / "broken")), [2, 1], ["status"], ["doctor"])

    async with repeating_supplier() as url:
        await meet_a_supplier_that_repeats_requests(system, found, {**addresses, "SUPPLIER_URL": url}, tmp_path)
    for name in system.db.list_collection_names():
        for document in system.db[name].find():
            found.add(f"collection {name}", document)

    assert len(found.texts) > 35
    assert found.with_secrets() == {}


async def meet_a_supplier_that_repeats_requests(
    system: System, found: Found, addresses: Mapping[str, str], folder: Path
) -> None:
    """Have an order fail for good, one wait in a delay queue, one be filed; look at the messages on their way."""
    system.settings |= files_of(addresses, folder / "repeating")
    system.settings |= {"LOGISTICS_RETRY_DELAYS": "200ms,1m", "LOGISTICS_BREAKER_FAILURE_THRESHOLD": "100"}
    worker = await system.start_worker("--consumers", "orders")
    await system.publish_order("400")
    await system.publish_order("500")
    queues = ("orders.dlq", "orders.retry.1m")
    await eventually(lambda: one_in_each(system, *queues))
    await look_at(found, worker)
    messages = [message for queue in queues for message in await take_all(system.amqp_url, queue)]
    for message in messages:
        assert "Authorization: Basic ***" in str(message.headers["error_message"])
        found.add("message", message.body + str(message.headers).encode())
        await system.channel.default_exchange.publish(message, "orders.dlq")
    worker = await system.start_worker()
    await eventually(lambda: len(system.letters(error_message={"$regex": r"Basic \*\*\*"})) == 2)
    await look_at(found, worker)


async def one_in_each(system: System, *queues: str) -> bool:
    return all([await system.depth(queue) == 1 for queue in queues])


async def look_at(found: Found, *workers: WorkerProcess) -> None:
    """Note all that a worker shows while it runs, end it, and note its log."""
    for worker in workers:
        found.add("process list", process_file(worker, "cmdline"))
        health = worker.events("worker.started")[0]["health"]
        for page in ("livez", "readyz", "metrics"):
            found.add(page, await asyncio.to_thread(fetch, f"{health}/{page}"))
        assert await worker.terminate() == 0
        found.add("log", worker.log.read_bytes())


async def run_all(found: Found, environment: Mapping[str, str], codes: list[int], *commands: Sequence[str]) -> None:
    """Run commands, all at once, note what they print, and check their exit codes."""
    ended = await asyncio.gather(*(run(environment, *command) for command in commands))
    for ran, command in zip(ended, commands, strict=True):
        found.add(" ".join(command[:2]), ran.out + ran.err)
    assert [ran.code for ran in ended] == codes, ended


def files_of(addresses: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Settings that give each address by a file, and none by its variable."""
    folder.mkdir()
    settings = {}
    for name, address in addresses.items():
        (folder / name).write_text(f"{address}\n")
        settings[f"LOGISTICS_{name}_FILE"] = str(folder / name)
        settings[f"LOGISTICS_{name}"] = ""
    return settings


def process_file(worker: WorkerProcess, name: str) -> bytes:
    return Path(f"/proc/{worker.pid}/{name}").read_bytes()


def fetch(url: str) -> str:
    """A page, whatever its status."""
    opener = build_opener(ProxyHandler({}))
    opener.process_response["http"].clear()  # type: ignore[attr-defined]  # no exception for a 503
    with opener.open(url, timeout=10) as response:
        return str(response.read().decode())


@asynccontextmanager
async def repeating_supplier() -> AsyncIterator[str]:
    """A supplier whose answer is the whole request it got, with the order id as the status."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        request += await reader.readexactly(int(request.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        status = b"400" if b'"order_id": "400"' in request else b"500"
        login = request[request.index(b"Authorization") :].split(b"\r\n")[0]
        writer.write(b"HTTP/1.1 %s Told\r\nContent-Length: %d\r\n\r\n%s" % (status, len(login), login))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield supplier_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
