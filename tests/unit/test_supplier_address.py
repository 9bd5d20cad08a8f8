"""The supplier's address: user and password leave it, and come into no text."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from yarl import URL

from infra.supplier.address import SupplierAddress
from infra.supplier.breaker import CircuitBreaker
from infra.supplier.client import HttpSupplier
from infra.supplier.probe import probe_supplier
from worker.domain.errors import ConfigurationError, SupplierError, SupplierRejectedError
from worker.domain.shipment import Shipment

PASSWORD = "p@ss/Zq7Xw ü"
LOGIN = "shop:p%40ss%2FZq7Xw%20%C3%BC"
TOKEN = "c2hvcDpwQHNzL1pxN1h3IMO8"
PLANTED = ("Zq7Xw", TOKEN)


def test_user_and_password_become_basic_authentication() -> None:
    address = SupplierAddress.read(f"https://{LOGIN}@supplier.example:8443/api/")
    assert str(address.url) == "https://supplier.example:8443/api/"
    assert address.headers == {"Authorization": f"Basic {TOKEN}"}
    assert not any(secret in repr(address) for secret in PLANTED)
    assert SupplierAddress.read("http://supplier.example").headers == {}


@pytest.mark.parametrize(
    "url",
    [
        f"https://{LOGIN}@",
        f"https://{LOGIN}@supplier:port",
        f"https://{LOGIN}@supplier/?key=Zq7Xw",
        f"https://{LOGIN}@supplier/#Zq7Xw",
        f"https://{LOGIN}@[::1",
    ],
)
def test_an_address_that_cannot_be_used_is_told_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LOGISTICS_SUPPLIER_URL") as caught:
        SupplierAddress.read(url)
    assert not any(secret in "".join(traceback.format_exception(caught.value)) for secret in PLANTED)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s",
        b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%s",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999%d\r\n\r\n%s",
        b"%d %s",
        b"HTTP/1.1 200 %d\r\nno header %s\r\n\r\n",
        b"",
    ],
)
async def test_whatever_the_supplier_answers_no_error_tells_the_password(answer: bytes) -> None:
    """A supplier that repeats the whole request in its answer, right or wrong HTTP."""
    async with answering(answer) as (port, requests):
        url = f"http://{LOGIN}@127.0.0.1:{port}"
        supplier = a_supplier(url)
        told = []
        for call in (supplier.request_dispatch(a_shipment()), probe_supplier(url, timeout=5)):
            try:
                await call
            except SupplierError as error:
                told.append("".join(traceback.format_exception(error)) + repr(error))
        await supplier.close()
    assert f"Authorization: Basic {TOKEN}".encode() in requests[0]
    assert f"Authorization: Basic {TOKEN}".encode() in requests[-1]
    assert told
    assert not any(secret in text for text in told for secret in PLANTED)


async def test_a_supplier_that_is_away_is_told_without_the_password() -> None:
    supplier = a_supplier(f"http://{LOGIN}@127.0.0.1:1")
    with pytest.raises(SupplierError, match="no connection") as caught:
        await supplier.request_dispatch(a_shipment())
    await supplier.close()
    assert not any(secret in "".join(traceback.format_exception(caught.value)) for secret in PLANTED)


async def test_a_short_password_that_is_in_the_answer_too_turns_no_no_into_a_yes() -> None:
    async with answering(b'HTTP/1.1 200 OK\r\n\r\n{"accepted": false, "reason": "closed", "to": "%.0s"}') as (port, _):
        supplier = a_supplier(f"http://shop:e@127.0.0.1:{port}")
        with pytest.raises(SupplierRejectedError, match="not accepted"):
            await supplier.request_dispatch(a_shipment())
        await supplier.close()


async def test_a_refusal_that_spells_the_password_in_json_s_own_way_tells_nothing_of_it() -> None:
    reason = json.dumps({"accepted": False, "reason": f"who is {PASSWORD}?", "to": "%.0s"})
    assert PASSWORD not in reason  # the last letter is written as \u00fc
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + reason.encode()) as (port, _):
        supplier = a_supplier(f"http://{LOGIN}@127.0.0.1:{port}")
        with pytest.raises(SupplierRejectedError) as caught:
            await supplier.request_dispatch(a_shipment())
        await supplier.close()
    assert str(caught.value).endswith("who is ***?")


@pytest.mark.parametrize(
    ("destination", "reason", "told"),
    [
        ("Karl Johans gate 1, Oslo", "nobody at Karl Johans gate 1, Oslo.", "nobody at (destination)."),
        ("Zürich", "no way to Zürich", "no way to (destination)"),
        ("Oslo", "Osloer streets are closed", "Osloer streets are closed"),
        ("no", "no, we do not", "no, we do not"),
    ],
)
async def test_where_an_order_goes_is_taken_out_of_what_the_supplier_says(
    destination: str, reason: str, told: str
) -> None:
    answer = json.dumps({"accepted": False, "reason": reason, "to": "%.0s"})
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + answer.encode()) as (port, _):
        supplier = a_supplier(f"http://127.0.0.1:{port}")
        with pytest.raises(SupplierRejectedError) as caught:
            await supplier.request_dispatch(replace(a_shipment(), destination=destination))
        await supplier.close()
    assert str(caught.value) == f"HTTP 200, not accepted: {told}"


def a_supplier(url: str) -> HttpSupplier:
    circuit = CircuitBreaker(failure_threshold=10, recovery_timeout=1.0)
    return HttpSupplier(url, circuit=circuit, timeout=5, connections=1)


def a_shipment() -> Shipment:
    return Shipment.for_order("o-1", "Oslo", trace_id="t-1", now=datetime.now(UTC))


@asynccontextmanager
async def answering(template: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers every request with its own text in this template; and the requests."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        requests.append(request)
        echo = request if template.endswith(b"\r\n\r\n%s") else request.replace(b"\r\n", b" ")
        writer.write(template % ((len(echo), echo) if b"%d" in template else echo) if template else b"")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], requests


def test_a_token_in_the_place_of_the_user_is_scrubbed() -> None:
    address = SupplierAddress.read("https://tok%2Fen-7@supplier.test/")
    assert address.scrubbed('{"token": "tok/en-7", "raw": "tok%2Fen-7"}') == '{"token": "***", "raw": "***"}'


@pytest.mark.parametrize("spelling", ['p"ß/\\w', r"p\"ß/\\w", r"p\"\u00df/\\w", r"p\"ß\/\\w", r"p\"\u00df\/\\w"])
def test_a_password_is_scrubbed_as_json_spells_it_too(spelling: str) -> None:
    address = SupplierAddress.read(str(URL("https://supplier.test/").with_user("us").with_password('p"ß/\\w')))
    assert address.scrubbed(f"before {spelling} after") == "before *** after"
