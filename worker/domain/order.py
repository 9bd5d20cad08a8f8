"""The order message: what a body must be to be an order."""

import json
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.domain.errors import MalformedOrderError

DEFAULT_MAX_BODY_BYTES = 1024 * 1024

# At least one visible character, and no control character (they break logs, HTTP headers and labels).
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"


_WORDS = {"string_pattern_mismatch": "needs a visible character, and no control characters"}
"""What we say instead of pydantic, by its error type."""


class Order(BaseModel):
    """An order as it is published on `orders` with the routing key `order.placed`.

    Unknown fields are welcome: they stay in the message, byte for byte, and are ignored here.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, title="Order")

    order_id: Annotated[str, Field(min_length=1, max_length=200, pattern=_PRINTABLE)]
    """The publisher's own id of the order; publishing the same id again is the same order."""
    destination: Annotated[str, Field(min_length=1, max_length=1000, pattern=_PRINTABLE)]
    """Where the goods go, as the supplier understands it."""


def parse_order(body: bytes, *, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> Order:
    """Return the order in a message body.

    Stricter than JSON asks for where leniency would hide a mistake: UTF-8 without a byte order mark, no key twice
    in an object (which of the two would count?), no NaN.

    Raises MalformedOrderError with a sentence for the publisher; it never repeats the body's content.
    """
    if len(body) > max_bytes:
        raise MalformedOrderError(f"the body has {len(body)} bytes; at most {max_bytes} are accepted")
    document = _parse_json_object(body)
    try:
        return Order.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'body'}: {_WORDS.get(problem['type'], problem['msg'])}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)[:5]
        )
        raise MalformedOrderError(problems, order_id=_valid_order_id(document)) from None


def readable_order_id(body: bytes, *, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> str | None:
    """Return the order id a body holds, valid order or not; None where none can be read."""
    try:
        return parse_order(body, max_bytes=max_bytes).order_id
    except MalformedOrderError as error:
        return error.order_id


def _valid_order_id(document: dict[str, Any]) -> str | None:
    try:
        return Order.model_validate({"order_id": document.get("order_id"), "destination": "-"}).order_id
    except ValidationError:
        return None


def _parse_json_object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedOrderError(f"the body is not UTF-8 (byte {error.start})") from None
    if text.startswith("\ufeff"):
        raise MalformedOrderError("the body starts with a byte order mark; send UTF-8 without one")
    try:
        document = _DECODER.decode(text)
    except RecursionError:
        raise MalformedOrderError("the body is nested too deeply") from None
    except ValueError as error:
        raise MalformedOrderError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedOrderError("the body is JSON but not an object")
    return document


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key appears twice in the same object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)
