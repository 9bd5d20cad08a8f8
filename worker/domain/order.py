"""The order message: what a body must be to be an order."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.domain.errors import MalformedOrderError
from worker.domain.json_body import PRINTABLE, problems_in_words, read_object

DEFAULT_MAX_BODY_BYTES = 1024 * 1024

OrderId = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
"""The publisher's own id of an order."""


class Order(BaseModel):
    """An order as it is published on `orders` with the routing key `order.placed`.

    Unknown fields are welcome: they stay in the message, byte for byte, and are ignored here.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, title="Order")

    order_id: OrderId
    """The publisher's own id of the order; publishing the same id again is the same order."""
    destination: Annotated[str, Field(min_length=1, max_length=1000, pattern=PRINTABLE)]
    """Where the goods go, as the supplier understands it."""


def parse_order(body: bytes, *, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> Order:
    """Return the order in a message body.

    Raises MalformedOrderError with a sentence for the publisher; it never repeats the body's content.
    """
    document = read_object(body, max_bytes=max_bytes, malformed=MalformedOrderError)
    try:
        return Order.model_validate(document)
    except ValidationError as error:
        raise MalformedOrderError(problems_in_words(error), order_id=valid_order_id(document)) from None


def readable_order_id(body: bytes, *, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> str | None:
    """Return the order id a body holds, valid order or not; None where none can be read."""
    try:
        return parse_order(body, max_bytes=max_bytes).order_id
    except MalformedOrderError as error:
        return error.order_id


def valid_order_id(document: dict[str, Any]) -> str | None:
    """Return the order id of a JSON object, None when it has none that is valid."""
    try:
        return Order.model_validate({"order_id": document.get("order_id"), "destination": "-"}).order_id
    except ValidationError:
        return None
