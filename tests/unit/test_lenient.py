"""Deliveries the client library refuses to make a message of."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from infra.rabbitmq.lenient import UNDECODABLE_HEADER, readable_message

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def _delivered(*, delivery_mode: int = 2, **properties: Any) -> DeliveredMessage:
    header = ContentHeader(properties=Basic.Properties(**properties), body_size=2)
    header.properties.delivery_mode = delivery_mode  # as decoded: the library checks only what it is given
    deliver = Basic.Deliver("tag", 1, redelivered=False, exchange="orders", routing_key="order.placed")
    return DeliveredMessage(delivery=deliver, header=header, body=b"{}", channel=cast("Any", None))


def test_an_ordinary_delivery_is_read_as_it_is() -> None:
    message = readable_message(_delivered(headers={"a": 1}, message_id="m-1", delivery_mode=2, timestamp=MOMENT))
    assert (message.body, message.message_id, message.headers) == (b"{}", "m-1", {"a": 1})


@pytest.mark.parametrize("mode", [0, 3, 5, 255])
def test_a_delivery_mode_nobody_knows_is_no_reason_to_leave_a_delivery_unanswered(mode: int) -> None:
    message = readable_message(_delivered(headers={"trace_id": "t"}, message_id="m-1", delivery_mode=mode))
    assert (message.body, message.message_id) == (b"{}", "m-1")
    assert message.headers["trace_id"] == "t"
    assert str(mode) in str(message.headers.get(UNDECODABLE_HEADER, mode))
