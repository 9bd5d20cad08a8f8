"""What the simulated supplier demands of a request, word for word the contract of the design (section 2). Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import orjson

_FIELDS = ("shipment_id", "order_id", "destination")
# W3C trace context: version (ff is forbidden), trace id and parent id (all zeros are forbidden), flags
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class ContractBreach(Exception):
    """The request is not what the contract says; the message is a sentence saying what is wrong."""


class DispatchOrder(NamedTuple):
    """A request that keeps the contract; the shipment id is its idempotency key too."""

    shipment_id: str
    order_id: str
    destination: str


def read_order(headers: Mapping[str, str], body: bytes) -> DispatchOrder:
    """The order in a request; raises ContractBreach.

    `headers` must be looked up without regard to case, as HTTP has it.
    """
    _check_content_type(headers.get("Content-Type", ""))
    order = _read_body(body)
    _check_headers(headers, order.shipment_id)
    return order


def _check_content_type(content_type: str) -> None:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ContractBreach(f"the Content-Type must be application/json, not {content_type!r}")


def _read_body(body: bytes) -> DispatchOrder:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ContractBreach(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ContractBreach(f"the body must be a JSON object, not {body[:40]!r}")
    for name in _FIELDS:
        value = fields.get(name)
        if not isinstance(value, str) or not value:
            wrong = f"not {value!r}" if name in fields else "and is missing"
            raise ContractBreach(f"{name} must be a string that is not empty, {wrong}")
    if len(fields) > len(_FIELDS):
        unknown = ", ".join(sorted(fields.keys() - set(_FIELDS)))
        raise ContractBreach(f"the body has fields the contract does not know: {unknown}")
    return DispatchOrder(fields["shipment_id"], fields["order_id"], fields["destination"])


def _check_headers(headers: Mapping[str, str], shipment_id: str) -> None:
    key = headers.get("Idempotency-Key")
    if key != shipment_id:
        raise ContractBreach(f"the header Idempotency-Key must be the shipment_id {shipment_id!r}, not {key!r}")
    if not headers.get("X-Trace-Id"):
        raise ContractBreach("the header X-Trace-Id is missing or empty")
    traceparent = headers.get("traceparent")
    if traceparent is None or not _TRACEPARENT.fullmatch(traceparent):
        raise ContractBreach(f"the header traceparent is not a W3C trace context: {traceparent!r}")
