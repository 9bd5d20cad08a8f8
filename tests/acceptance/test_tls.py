"""TLS to the broker, the store and the supplier: our own authority, a certificate on either side, all of it real."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from infra.tls import QUESTION
from tests.support.certificates import Authority, Certificate
from tests.support.command import run
from tests.support.system import System, WorkerProcess, eventually, running_system
from tests.support.tls_servers import Identity, TlsMongod, TlsRabbitMQ, tls_supplier


@dataclass(frozen=True)
class Servers:
    """A broker and a store that speak TLS, and the certificates to meet them with."""

    rabbitmq: TlsRabbitMQ
    mongod: TlsMongod
    identity: Identity
    client: Certificate
    other: Authority
    """One that nobody here trusts."""

    def amqp(self, ca: Path | None = None, client: Certificate | None = None) -> str:
        files = {"cafile": str(ca or self.identity.authority.file)}
        if client is not None:
            files |= {"certfile": str(client.cert), "keyfile": str(client.key)}
        return f"{self.rabbitmq.amqps_url}?{urlencode(files)}"

    def mongodb(self, ca: Path | None = None, client: Certificate | None = None) -> str:
        files = {"tls": "true", "tlsCAFile": str(ca or self.identity.authority.file)}
        if client is not None:
            files |= {"tlsCertificateKeyFile": str(client.both)}
        return f"{self.mongod.mongodb_uri}&{urlencode(files)}"

    def supplier(self, ca: Path | None = None, client: Certificate | None = None) -> dict[str, str]:
        settings = {"LOGISTICS_SUPPLIER_CA_FILE": str(ca or self.identity.authority.file)}
        if client is not None:
            settings["LOGISTICS_SUPPLIER_CERT_FILE"] = str(client.cert)
            settings["LOGISTICS_SUPPLIER_KEY_FILE"] = str(client.key)
        return settings


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = Authority(folder, "ours"), Authority(folder, "other")
    identity = Identity(authority, authority.sign("server"))
    rabbitmq, mongod = TlsRabbitMQ(folder / "rabbitmq", identity), TlsMongod(folder / "mongod", identity)
    with ExitStack() as stack:
        for server in (rabbitmq, mongod):
            stack.callback(server.kill)
            server.launch()
        for server in (rabbitmq, mongod):
            server.wait_ready()
        yield Servers(rabbitmq, mongod, identity, authority.sign("client"), other)


@pytest.fixture
async def system(servers: Servers, tmp_path: Path) -> AsyncIterator[System]:
    """A system whose worker is right on all three legs, unless a test changes one of them."""
    supplier = tls_supplier(servers.identity)
    await supplier.start()
    async with running_system(
        amqp_url=servers.amqp(client=servers.client),
        mongodb_uri=servers.mongodb(client=servers.client),
        database=f"test_{uuid.uuid4().hex[:12]}",
        supplier=supplier,
        folder=tmp_path,
    ) as running:
        running.settings |= {
            **servers.supplier(client=servers.client),
            "LOGISTICS_STORE_TIMEOUT": "1s",
            "LOGISTICS_DATA_DIR": "/nonexistent",
        }
        yield running
    await supplier.stop()


async def test_an_order_goes_the_whole_way_over_tls_and_a_command_sees_it(servers: Servers, system: System) -> None:
    worker = await system.start_worker()
    published = await run(system.environment(), "publish", "--order-id", "o-1", "--destination", "Oslo")
    assert published.code == 0, published
    await system.shipped("o-1")
    doctor = await run(system.environment(), "doctor")
    assert doctor.code == 0, doctor
    spoken = servers.rabbitmq.ctl("list_connections", "--silent", "ssl", "peer_cert_subject").splitlines()
    assert len(spoken) >= 4
    assert all(line.startswith("true\t") and "CN=client" in line for line in spoken)
    status = await run(system.environment(), "status", "--json")
    assert status.code == 0, status
    assert await worker.terminate() == 0


@pytest.mark.parametrize(
    ("whom", "told"),
    [
        ("other authority", "TLS: its certificate is not trusted"),
        ("no certificate", "TLS: it asks for a client certificate, and was sent none"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_told_for_each_server_and_no_order_is_lost(
    servers: Servers, system: System, whom: str, told: str
) -> None:
    """One worker for each server that is wrong; at the end all is right and the order ships."""
    ca = servers.other.file if whom == "other authority" else None
    client = servers.client if whom == "other authority" else None
    amqp, mongodb = servers.amqp(ca, client), servers.mongodb(ca, client)
    supplier = {"LOGISTICS_SUPPLIER_CERT_FILE": "", "LOGISTICS_SUPPLIER_KEY_FILE": "", **servers.supplier(ca, client)}
    # A server that wants a certificate may close the connection before its alert is read; then there is the question.
    tells = [told] if whom == "other authority" else [told, QUESTION]

    doctor = asyncio.create_task(
        run(system.environment(LOGISTICS_AMQP_URL=amqp, LOGISTICS_MONGODB_URI=mongodb, **supplier), "doctor", "--json")
    )
    no_broker = await system.start_worker(wait=False, LOGISTICS_AMQP_URL=amqp)
    no_store = await system.start_worker(wait=False, LOGISTICS_MONGODB_URI=mongodb)
    await eventually(lambda: no_broker.events("broker.unreachable") and no_store.events("store.unreachable"))
    assert is_told(tells, no_broker.events("broker.unreachable")[0]["error"])
    assert is_told(tells, no_store.events("store.unreachable")[0]["error"])
    await end(no_broker, no_store)
    found = {finding["area"]: finding["text"] for finding in (await doctor).document["findings"]}
    assert all(is_told(tells, found[area]) for area in ("broker", "store", "supplier")), found

    right, system.settings = system.settings, {**system.settings, **supplier, "LOGISTICS_MAX_ATTEMPTS": "100"}
    no_supplier = await system.start_worker()
    await system.publish_order("o-1")
    await eventually(lambda: no_supplier.events("circuit.open"))
    assert is_told(tells, no_supplier.events("circuit.open")[0]["why"])
    await end(no_supplier)
    assert system.supplier.requests() == []

    system.settings = right
    await system.start_worker()
    await system.shipped("o-1")
    assert system.letters() == []


async def test_a_file_that_cannot_be_used_stops_the_start_with_one_line(system: System) -> None:
    worker = await system.start_worker(wait=False, LOGISTICS_SUPPLIER_CA_FILE="/nonexistent")
    await eventually(lambda: worker.process.poll() is not None)
    assert worker.process.returncode == 2
    assert worker.log.read_text().splitlines() == [
        "logistics: LOGISTICS_SUPPLIER_CA_FILE: the file cannot be read: No such file or directory"
    ]


def is_told(tells: Sequence[str], text: str) -> bool:
    return any(told in text for told in tells)


async def end(*workers: WorkerProcess) -> None:
    """SIGTERM; everything that was logged is JSON, and no traceback."""
    for worker in workers:
        assert await worker.terminate() == 0
        assert worker.lines()
        assert "Traceback" not in worker.log.read_text()
