"""Certificate and key files that cannot be used: one line at the start, that names the setting and no path."""

import asyncio
from pathlib import Path

import pytest

from infra.tls import QUESTION, TlsFiles, client_context, explained, questioned
from tests.support.certificates import Authority
from worker.bootstrap import Worker
from worker.domain.errors import ConfigurationError
from worker.settings import load_settings

NAMES = TlsFiles("CA", "CERT", "KEY")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Good ones and others, by name."""
    authority = Authority(tmp_path_factory.mktemp("certificates"), "ours")
    client, other = authority.sign("client"), authority.sign("other")
    return {
        "ca": authority.file,
        "cert": client.cert,
        "key": client.key,
        "both": client.both,
        "other": other.key,
        "locked": client.encrypted(),
    }


def complaint(environment: dict[str, str]) -> str:
    """What a worker says that does not start."""

    async def start() -> None:
        Worker(load_settings(environment))

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(start())
    return str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SUPPLIER_CA_FILE", "/nonexistent", "the file cannot be read: No such file or directory"),
        ("SUPPLIER_CA_FILE", "/etc", "the file cannot be read: Is a directory"),
        ("SUPPLIER_CA_FILE", "{key}", "the file holds no certificate in PEM format"),
        ("SUPPLIER_KEY_FILE", "{other}", "certificate and key cannot be used (key values mismatch)"),
        ("SUPPLIER_KEY_FILE", "{locked}", "the key not encrypted"),
        ("SUPPLIER_CERT_FILE", "", "LOGISTICS_SUPPLIER_KEY_FILE needs LOGISTICS_SUPPLIER_CERT_FILE"),
        ("SUPPLIER_URL", "http://supplier.example", "does not begin with https://"),
        ("AMQP_URL", "amqps://rabbit/?cafile=/nonexistent", "cafile: the file cannot be read"),
        ("AMQP_URL", "amqps://rabbit/?cafile={ca}&certfile={key}", "certfile: certificate and key cannot be used"),
        ("MONGODB_URI", "mongodb://mongo/?tls=true&tlsCAFile=/nonexistent", "cannot be used: No such file"),
        ("MONGODB_URI", "mongodb://mongo/?tls=true&tlsCAFile={key}", "cannot be used: no certificate in PEM format"),
    ],
)
def test_a_file_that_cannot_be_used_stops_a_worker_with_one_line(
    files: dict[str, Path], variable: str, value: str, told: str
) -> None:
    environment = {
        "LOGISTICS_AMQP_URL": "amqp://rabbit/",
        "LOGISTICS_MONGODB_URI": "mongodb://mongo/",
        "LOGISTICS_SUPPLIER_URL": "https://supplier.example",
        "LOGISTICS_SUPPLIER_CA_FILE": str(files["ca"]),
        "LOGISTICS_SUPPLIER_CERT_FILE": str(files["cert"]),
        "LOGISTICS_SUPPLIER_KEY_FILE": str(files["key"]),
        f"LOGISTICS_{variable}": value.format(**files),
    }
    said = complaint(environment)
    assert said.startswith("LOGISTICS_")
    assert told in said
    assert said.isprintable()
    assert "/nonexistent" not in said
    assert str(files["key"].parent) not in said


def test_certificate_and_key_may_be_in_one_file(files: dict[str, Path]) -> None:
    context = client_context(TlsFiles(ca=str(files["ca"]), cert=str(files["both"])), names=NAMES)
    assert context.check_hostname
    assert [authority["subject"][-1] for authority in context.get_ca_certs()] == [(("commonName", "ours"),)]


def test_a_failure_is_told_in_words_and_anything_else_as_it_is() -> None:
    failed = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)"
    assert explained(failed) == "TLS: its certificate is not trusted: certificate has expired"
    assert explained("[SSL: WRONG_VERSION_NUMBER] …") == "TLS: it does not speak TLS at this port"
    assert explained("no answer") == questioned("no answer") == "no answer"
    assert questioned("Connection reset by peer") == f"Connection reset by peer {QUESTION}"
