"""The private servers, and the simulated supplier, with TLS: each shows a certificate and asks for one."""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from pymongo import MongoClient

from infra.local.files import remembered
from infra.local.mongod import PrivateMongod
from infra.local.ports import LOOPBACK, free_ports
from infra.local.rabbitmq import PrivateRabbitMQ
from infra.local.server import Command
from infra.supplier.simulator import SupplierSimulator
from tests.support.certificates import Authority, Certificate


@dataclass(frozen=True)
class Identity:
    """What a server is given: whom it trusts, and its own certificate."""

    authority: Authority
    own: Certificate


class TlsRabbitMQ(PrivateRabbitMQ):
    """Has a second AMQP listener, which speaks TLS only and lets in nobody without a certificate."""

    def __init__(self, data_dir: str | os.PathLike[str], identity: Identity) -> None:
        super().__init__(data_dir)
        self._identity = identity

    @cached_property
    def tls_port(self) -> int:
        return int(remembered(self.data_dir / "tls.json", lambda: {"port": free_ports(1)[0]})["port"])

    @property
    def amqps_url(self) -> str:
        """The URL of the default virtual host by way of TLS, without options; it holds the password."""
        address = urlsplit(self.amqp_url)
        place = f"{address.username}:{address.password}@{LOOPBACK}:{self.tls_port}"
        return address._replace(scheme="amqps", netloc=place).geturl()

    @property
    def ports(self) -> Sequence[int]:
        return (*super().ports, self.tls_port)

    def prepare(self) -> Sequence[Command]:
        commands = super().prepare()
        with (self.data_dir / "rabbitmq.conf").open("a") as configuration:
            configuration.write(
                f"listeners.ssl.local = {LOOPBACK}:{self.tls_port}\n"
                f"ssl_options.cacertfile = {self._identity.authority.file}\n"
                f"ssl_options.certfile = {self._identity.own.cert}\n"
                f"ssl_options.keyfile = {self._identity.own.key}\n"
                "ssl_options.verify = verify_peer\n"
                "ssl_options.fail_if_no_peer_cert = true\n"
            )
        return commands


class TlsMongod(PrivateMongod):
    """Speaks TLS only and lets in nobody without a certificate."""

    def __init__(self, data_dir: str | os.PathLike[str], identity: Identity) -> None:
        super().__init__(data_dir)
        self._identity = identity

    def prepare(self) -> Sequence[Command]:
        files = [
            *("--tlsCertificateKeyFile", str(self._identity.own.both)),
            *("--tlsCAFile", str(self._identity.authority.file)),
        ]
        return [([*line, "--tlsMode", "requireTLS", *files], env) for line, env in super().prepare()]

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        files = {
            "tlsCAFile": str(self._identity.authority.file),
            "tlsCertificateKeyFile": str(self._identity.own.both),
        }
        return super().client(tls=True, **files, **options)


def tls_supplier(identity: Identity) -> SupplierSimulator:
    """Return a supplier that speaks TLS only and answers nobody without a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=identity.authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(identity.own.cert, identity.own.key)
    return SupplierSimulator(tls=context)
