"""Deliveries the client library refuses to make a message of."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from infra.rabbitmq.lenient import UNDECODABLE_HEADER, is_decode_error
from infra.rabbitmq.reading import read_delivery
from tests.support.fake_broker import read_frame
from tests.support.raw_headers import content_header

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def _delivered(*, delivery_mode: int = 2, **properties: Any) -> DeliveredMessage:
    header = ContentHeader(properties=Basic.Properties(**properties), body_size=2)
    header.properties.delivery_mode = delivery_mode  # as decoded: the library checks only what it is given
    deliver = Basic.Deliver("tag", 1, redelivered=False, exchange="orders", routing_key="order.placed")
    return DeliveredMessage(delivery=deliver, header=header, body=b"{}", channel=cast("Any", None))


def test_an_ordinary_delivery_is_read_as_it_is() -> None:
    delivery = read_delivery(_delivered(headers={"a": 1}, message_id="m-1", timestamp=MOMENT))
    assert (delivery.body, delivery.message_id, delivery.headers) == (b"{}", "m-1", {"a": 1})
    assert (delivery.exchange, delivery.routing_key, delivery.redelivered) == ("orders", "order.placed", False)
    assert delivery.published_at == MOMENT


def test_a_delivery_without_properties_is_read_as_it_is() -> None:
    delivery = read_delivery(_delivered())
    assert (delivery.headers, delivery.message_id, delivery.published_at) == ({}, None, None)


@pytest.mark.parametrize("mode", [0, 3, 5, 255])
def test_a_delivery_mode_nobody_knows_is_no_reason_to_leave_a_delivery_unanswered(mode: int) -> None:
    delivery = read_delivery(_delivered(headers={"trace_id": "t"}, message_id="m-1", delivery_mode=mode))
    assert (delivery.body, delivery.message_id, delivery.headers) == (b"{}", "m-1", {"trace_id": "t"})


async def test_tables_too_deep_for_the_client_are_noticed_and_read_leniently() -> None:
    """Found by fuzzing: the client gives up with a RecursionError, which was not known as an error of decoding."""
    nested = b"".join(b"A" + size.to_bytes(4, "big") for size in range(10_000, -1, -5))
    table = b"\x01n" + nested
    raw = content_header(b"\x20\x00" + len(table).to_bytes(4, "big") + table, body_size=2)
    with pytest.raises(RecursionError) as raised:
        await read_frame(raw, lenient=False)
    assert is_decode_error(raised.value)
    read = await read_frame(raw, lenient=True)
    assert read.body_size == 2
    assert nested in bytes(cast("Any", read.properties.headers)[UNDECODABLE_HEADER])
