"""The delivery notice: what a body must be to say that a shipment has arrived."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from worker.domain.errors import MalformedNoticeError
from worker.domain.json_body import problems_in_words, read_object
from worker.domain.order import DEFAULT_MAX_BODY_BYTES, OrderId, valid_order_id
from worker.domain.shipment import shipment_id_for

NOTICE_EXCHANGE = "shipments"
NOTICE_KEY = "shipment.delivered"
NOTICE_QUEUE = "shipments.delivered"
"""Where notices are published, with which routing key, and where they wait for a worker."""

UUID_PATTERN = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TIME_PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?"
)
EARLIEST_MS = 946_684_800_000  # the beginning of the year 2000
LATEST_MS = 253_402_300_799_000  # the end of the year 9999, the last date the store holds
_UUID = re.compile(UUID_PATTERN)
_TIME = re.compile(TIME_PATTERN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = _EPOCH + timedelta(milliseconds=EARLIEST_MS)
_WORDS = {
    "shipment_id": "needs a UUID, such as 4bf92f35-77b3-5da6-83ce-929d0e0e4736",
    "delivered_at": "needs a time from the year 2000 on, such as 2026-03-01T12:00:00Z, or whole milliseconds since "
    "1970-01-01 (not seconds)",
}


def _shipment_id(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value.lower()
    raise ValueError("no UUID")


def _time(value: object) -> datetime:
    """Return the moment in UTC, to the millisecond, as the store keeps it."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        at = datetime.fromisoformat(value.upper())
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else _in_utc(at)
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LATEST_MS:
        at = _EPOCH + timedelta(milliseconds=value)
    else:
        raise ValueError("no time")
    if at < _EARLIEST:
        raise ValueError("too long ago to be a delivery; seconds instead of milliseconds, probably")
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999") from None


class DeliveryNotice(BaseModel):
    """A supplier's word that a shipment has arrived, as published on `shipments` with `shipment.delivered`.

    It names the shipment, the order, or both. Unknown fields are welcome: they stay in the message and are ignored.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, title="Delivery notice")

    shipment_id: Annotated[str | None, BeforeValidator(_shipment_id)] = None
    """The id the supplier was given with the dispatch; in lower case here, however it was written."""
    order_id: OrderId | None = None
    delivered_at: Annotated[datetime, BeforeValidator(_time)]
    """When it arrived, in UTC: ISO 8601 text (UTC where it names no zone) or milliseconds since the epoch."""

    @model_validator(mode="after")
    def _names_one_shipment(self) -> Self:
        if self.shipment_id is None and self.order_id is None:
            raise ValueError("neither")
        if self.shipment_id is not None and self.order_id is not None and self.shipment_id != self.shipment:
            raise ValueError("two")
        return self

    @property
    def shipment(self) -> str:
        """The id of the shipment it is about."""
        return str(self.shipment_id) if self.order_id is None else shipment_id_for(self.order_id)


def parse_notice(body: bytes, *, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> DeliveryNotice:
    """Return the delivery notice in a message body.

    Raises MalformedNoticeError with a sentence for the supplier; it never repeats the body's content.
    """
    document = read_object(body, max_bytes=max_bytes, malformed=MalformedNoticeError)
    try:
        return DeliveryNotice.model_validate(document)
    except ValidationError as error:
        raise MalformedNoticeError(
            problems_in_words(error, words={**_WORDS, "body": _about_names(document)}),
            order_id=valid_order_id(document),
            shipment_id=_valid_shipment_id(document),
        ) from None


def readable_names(body: bytes, *, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> tuple[str | None, str | None]:
    """Return the order id a body holds and the id of the shipment it is about, valid notice or not."""
    try:
        notice = parse_notice(body, max_bytes=max_bytes)
    except MalformedNoticeError as error:
        return error.order_id, shipment_id_for(error.order_id) if error.order_id is not None else error.shipment_id
    return notice.order_id, notice.shipment


def _about_names(document: dict[str, Any]) -> str:
    if document.get("shipment_id") is None and document.get("order_id") is None:
        return "needs shipment_id or order_id"
    return "shipment_id is not the shipment of order_id; send the one that is right, or only one of them"


def _valid_shipment_id(document: dict[str, Any]) -> str | None:
    try:
        return _shipment_id(document.get("shipment_id"))
    except ValueError:
        return None
