"""Fuzzing the body parsers: what they take is what is documented, judged by rules and parsers that are not theirs."""

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given
from pydantic import ValidationError

from tests.support.fuzz_settings import deep, examples
from tests.support.raw_bodies import NOTICES, ORDERS, bodies
from worker.domain.delivery_notice import DeliveryNotice, parse_notice, readable_names
from worker.domain.errors import MalformedNoticeError, MalformedOrderError
from worker.domain.order import Order, parse_order, readable_order_id
from worker.domain.shipment import shipment_id_for

LIMIT = 6000


class TwiceError(ValueError):
    """A key appears twice in an object."""


def documented_object(body: bytes) -> dict[str, Any] | None:
    """Return the object in a body, by the words of the documentation; None where there is none."""
    if len(body) > LIMIT or body.startswith(b"\xef\xbb\xbf"):
        return None

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(names) != len(set(names)):
            raise TwiceError
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        document = json.loads(str(body, "utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def is_text(value: object, *, longest: int) -> bool:
    """Whether a value is a text of so many characters, one of them visible, none of them a control character."""
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        return False
    categories = {unicodedata.category(character) for character in value}
    return not categories & {"Cc", "Cs"} and any(not character.isspace() for character in value)


def order_of(body: bytes) -> Order | None:
    try:
        return parse_order(body, max_bytes=LIMIT)
    except MalformedOrderError as error:
        check_complaint(str(error))
        return None


def notice_of(body: bytes) -> DeliveryNotice | None:
    try:
        return parse_notice(body, max_bytes=LIMIT)
    except MalformedNoticeError as error:
        check_complaint(str(error))
        return None


def check_complaint(text: str) -> None:
    assert text.isprintable()
    assert len(text) < 1000


@deep
@given(bodies(*ORDERS))
def test_an_order_is_what_the_documentation_calls_one_and_nothing_else(body: bytes) -> None:
    examples["orders: parser"] += 1
    order, document = order_of(body), documented_object(body)
    wanted = (
        document is not None
        and is_text(document.get("order_id"), longest=200)
        and is_text(document.get("destination"), longest=1000)
    )
    assert (order is not None) is wanted
    assert readable_order_id(body, max_bytes=LIMIT) == (
        document["order_id"] if document is not None and is_text(document.get("order_id"), longest=200) else None
    )
    if order is not None and document is not None:
        assert (order.order_id, order.destination) == (document["order_id"], document["destination"])
        _other_parsers_agree(body, order)


def _other_parsers_agree(body: bytes, order: Order) -> None:
    """Parsers that share no code with ours read the same; they refuse half surrogate pairs and deep nesting."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    else:
        assert (document["order_id"], document["destination"]) == (order.order_id, order.destination)
    try:
        assert Order.model_validate_json(body) == order
    except ValidationError:
        deep_or_broken = body.count(b"[") + body.count(b"{") > 100 or re.search(rb"\\u[dD][89a-fA-F]", body)
        assert deep_or_broken or document is None or re.search(rb"\d{300}", body), body


@deep
@given(bodies(*NOTICES))
def test_a_notice_names_one_shipment_and_a_time_the_store_can_hold(body: bytes) -> None:
    examples["notices: parser"] += 1
    notice, document = notice_of(body), documented_object(body)
    order_id, shipment_id = readable_names(body, max_bytes=LIMIT)
    assert order_id is None or is_text(order_id, longest=200)
    assert order_id is None or shipment_id == shipment_id_for(order_id)
    if notice is None:
        return
    assert document is not None
    assert (order_id, shipment_id) == (notice.order_id, notice.shipment)
    assert notice.order_id == document.get("order_id")
    assert notice.shipment_id is None or notice.shipment_id == document["shipment_id"].lower()
    at = notice.delivered_at
    assert at.tzinfo is UTC
    assert datetime(2000, 1, 1, tzinfo=UTC) <= at <= datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert at.microsecond % 1000 == 0
    given_time = document["delivered_at"]
    if isinstance(given_time, int):
        assert round(at.timestamp() * 1000) == given_time
    else:
        assert given_time[:2].isdigit()
    assert (
        parse_notice(json.dumps({**document, "delivered_at": at.isoformat()}).encode(), max_bytes=LIMIT * 4) == notice
    )
