"""Bad input: each becomes a dead letter or is shipped all the same; the worker lives, and nothing is lost."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aio_pika
import aiormq.channel
import pytest
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.store import MongoStore
from tests.support.system import System, eventually

MALFORMED: dict[str, bytes] = {
    "not JSON": b"nope",
    "empty": b"",
    "not UTF-8": b'{"order_id": "\xff", "destination": "Oslo"}',
    "UTF-16": '{"order_id": "a", "destination": "Oslo"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"order_id": "a", "destination": "Oslo"}',
    "a list": b"[1]",
    "a string": b'"order"',
    "null": b"null",
    "nested deeply": b'{"order_id": "a", "destination": "x", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "10 MB": b'{"order_id": "big", "destination": "' + b"x" * (10 * 1024 * 1024) + b'"}',
    "no order id": b'{"destination": "Oslo"}',
    "no destination": b'{"order_id": "a"}',
    "an empty order id": b'{"order_id": "", "destination": "Oslo"}',
    "a blank order id": b'{"order_id": "   ", "destination": "Oslo"}',
    "an over-long order id": json.dumps({"order_id": "x" * 5000, "destination": "Oslo"}).encode(),
    "a boolean order id": b'{"order_id": true, "destination": "Oslo"}',
    "a number as order id": b'{"order_id": 17, "destination": "Oslo"}',
    "an operator as order id": b'{"order_id": {"$gt": ""}, "destination": "Oslo"}',
    "a key twice": b'{"order_id": "a", "order_id": "b", "destination": "Oslo"}',
    "control characters": b'{"order_id": "a\\u0000b", "destination": "Oslo"}',
    "a line break": b'{"order_id": "a\\r\\nX-Evil: 1", "destination": "Oslo"}',
    "a lone surrogate": b'{"order_id": "\\ud800", "destination": "Oslo"}',
    "NaN": b'{"order_id": "a", "destination": "Oslo", "weight": NaN}',
    "a huge number": b'{"order_id": "a", "destination": "Oslo", "n": ' + b"9" * 10_000 + b"}",
}

HOSTILE_HEADERS: dict[str, dict[str, Any]] = {
    "attempt-text": {"attempt": "many"},
    "attempt-negative": {"attempt": -5},
    "attempt-huge": {"attempt": 2**62},
    "attempt-boolean": {"attempt": True},
    "attempt-table": {"attempt": {"a": {"b": [1, {"c": None}]}}},
    "deferrals-float": {"deferrals": 1.5},
    "trace-100kB": {"trace_id": "t" * 100_000},
    "trace-number": {"trace_id": 5},
    "trace-line-break": {"trace_id": "a\r\nX-Evil: 1"},
    "traceparent-broken": {"traceparent": "00-zz-zz-zz"},
    "not-before-far": {"not_before": 2**62},
    "not-before-text": {"not_before": "tomorrow"},
    "first-failed-negative": {"first_failed_at": -1},
    "ids-broken": {"dead_letter_id": "../etc", "replay_id": {"$ne": 1}},
    "origin-number": {"origin_exchange": 3, "origin_routing_key": 4},
    "x-death-forged": {"x-death": [{"reason": "expired", "queue": "orders.work", "count": 99}], "x-delivery-count": 7},
    "foreign-kinds": {
        "a": None,
        "b": bytearray(b"\x00\xff"),
        "c": [1, [2, {"d": 1.5}]],
        "e": 2**40,
        "$where": "1",
        "x.y": "z",
    },
    "foreign-100kB": {"blob": "b" * 100_000},
}


_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def _header_name_not_utf8(payload: bytes) -> bytes:
    return payload.replace(b"PLACEHOLDER", b"\xff" * 11)


def _timestamp_out_of_range(payload: bytes) -> bytes:
    """A publisher that counts in microseconds."""
    seconds = int(_MOMENT.timestamp())
    return payload.replace(seconds.to_bytes(8, "big"), (seconds * 1_000_000).to_bytes(8, "big"))


_DEEP = bytearray(10_000)


def _tables_two_thousand_deep(payload: bytes) -> bytes:
    """Lists in lists, in the place of a byte array of the same size."""
    nested = b"".join(b"A" + size.to_bytes(4, "big") for size in range(len(_DEEP), -1, -5))
    return payload.replace(b"x" + len(_DEEP).to_bytes(4, "big") + _DEEP, nested)


@pytest.mark.parametrize("prefetch", ["1", "100"])
async def test_every_malformed_body_is_filed_byte_for_byte(system: System, prefetch: str) -> None:
    worker = await system.start_worker(LOGISTICS_PREFETCH=prefetch)
    for body in MALFORMED.values():
        await system.publish(body)
    await system.publish_order("good")
    await system.shipped("good")
    await eventually(lambda: len(system.letters(reason="malformed")) == len(MALFORMED))
    assert {bytes(letter["body"]) for letter in system.letters()} == set(MALFORMED.values())
    assert all(letter["error_type"] == "MalformedOrderError" for letter in system.letters())
    assert system.supplier.stats()["requests"] == 1
    assert await worker.terminate() == 0


async def test_the_same_malformed_body_published_twice_is_two_dead_letters(system: System) -> None:
    await system.start_worker()
    for body in (b"nope", b'{"order_id": "o-1"}'):
        for _ in range(2):
            await system.publish(body)
            await system.publish(body, message_id=None)
    await eventually(lambda: len(system.letters(state="open")) == 8)


async def test_orders_with_hostile_headers_ship_all_the_same(system: System) -> None:
    await system.start_worker()
    for name, headers in HOSTILE_HEADERS.items():
        await system.publish_order(name, headers=headers)
    await system.shipped(*HOSTILE_HEADERS)
    assert system.letters() == []
    assert system.supplier.stats()["contract_breaches"] == 0


async def test_orders_with_hostile_headers_that_are_refused_are_filed(system: System) -> None:
    await system.start_worker()
    system.supplier.change(rules=[{"match": "*", "refuse": True}])
    for name, headers in HOSTILE_HEADERS.items():
        await system.publish_order(name, headers=headers)
    await eventually(lambda: len(system.letters(reason="supplier_rejected")) == len(HOSTILE_HEADERS))


async def test_a_body_without_headers_and_properties_ships(system: System) -> None:
    await system.start_worker()
    exchange = await system.channel.get_exchange("orders", ensure=False)
    underlay = await system.channel.get_underlay_channel()
    await underlay.basic_publish(
        b'{"order_id": "bare", "destination": "Oslo"}',
        exchange=exchange.name,
        routing_key="order.placed",
        properties=Basic.Properties(),
    )
    await system.shipped("bare")


async def test_a_foreign_message_in_a_retry_queue_comes_out_and_ships(system: System) -> None:
    await system.start_worker()
    await system.channel.default_exchange.publish(
        aio_pika.Message(b'{"order_id": "foreign", "destination": "Oslo"}'), "orders.retry.200ms"
    )
    await system.shipped("foreign")


async def test_a_foreign_message_in_the_dead_letter_queue_is_filed_with_reason_unknown(system: System) -> None:
    await system.start_worker()
    await system.channel.default_exchange.publish(aio_pika.Message(b"\x00\x01", headers={"a\x00b": 1}), "orders.dlq")
    await eventually(lambda: system.letters(reason="unknown"))
    assert bytes(system.letters()[0]["body"]) == b"\x00\x01"


async def test_a_message_dead_lettered_by_the_broker_itself_is_filed_as_delivery_limit(system: System) -> None:
    worker = await system.start_worker("--consumers", "dead-letters")
    await system.publish_order("poison", headers={"trace_id": "t-1"})
    queue = await system.channel.get_queue("orders.work", ensure=False)
    for _ in range(30):
        message = await queue.get(fail=False, timeout=5)
        if message is None:
            break
        await message.reject(requeue=True)
    await eventually(lambda: system.letters(reason="delivery_limit"))
    letter = system.letters()[0]
    assert letter["order_id"] == "poison"
    assert letter["trace_id"] == "t-1"
    assert (letter["origin_exchange"], letter["origin_routing_key"]) == ("orders", "order.placed")
    assert await worker.terminate() == 0


async def test_a_body_too_large_for_a_document_is_filed_in_pieces_and_comes_back_whole(system: System) -> None:
    await system.start_worker()
    body = bytes(range(256)) * 4096 * 15  # 15 MB: more than one piece, and not more than RabbitMQ 4 takes
    await system.publish(body)
    await eventually(lambda: system.letters(reason="malformed"))
    store = MongoStore(system.mongodb_uri, database=system.database)
    letter = await MongoDeadLetters(store).get(system.letters()[0]["_id"])
    await store.close()
    assert letter is not None
    assert letter.body == body


@pytest.mark.parametrize("queue", ["orders.work", "orders.dlq"])
@pytest.mark.parametrize("spoil", [_header_name_not_utf8, _timestamp_out_of_range, _tables_two_thousand_deep])
async def test_properties_that_the_client_cannot_decode_stop_no_queue(
    system: System, queue: str, spoil: Callable[[bytes], bytes]
) -> None:
    await system.start_worker()
    connection = await aio_pika.connect(system.amqp_url)
    underlay = await (await connection.channel(publisher_confirms=False)).get_underlay_channel()
    assert isinstance(underlay, aiormq.channel.Channel)
    body = b'{"order_id": "odd", "destination": "Oslo"}'
    headers: dict[str, Any] = {"PLACEHOLDER": 1, "nested": _DEEP}
    properties = Basic.Properties(headers=headers, timestamp=_MOMENT, message_id="m-1", delivery_mode=2)
    frame = ChannelFrame.marshall(
        channel_number=underlay.number,
        frames=[
            Basic.Publish(exchange="", routing_key=queue),
            ContentHeader(properties=properties, body_size=len(body)),
            ContentBody(body),
        ],
    )
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await underlay.write_queue.put(ChannelFrame(spoil(frame.payload), should_close=False, drain_future=written))
    await written
    await connection.close()
    await system.publish_order("neighbour")
    await system.shipped("neighbour")
    if queue == "orders.work":
        await system.shipped("odd")
    else:
        await eventually(lambda: system.letters(reason="unknown", order_id="odd"))
        assert bytes(system.letters()[0]["headers"]["undecodable_properties"])
