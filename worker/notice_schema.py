"""The delivery notice as a JSON Schema, for whoever hears that a shipment has arrived."""

from typing import Any

from worker.domain.delivery_notice import EARLIEST_MS, LATEST_MS, TIME_PATTERN, UUID_PATTERN, DeliveryNotice

_DESCRIPTION = """\
The body of a message on the exchange 'shipments' with the routing key 'shipment.delivered'. It names the shipment, the
order, or both. Fields not named here are kept, byte for byte, and ignored. What no schema can say: the rules for the
text of an order's body hold here, too; shipment_id must be the shipment of order_id where both are given; delivered_at
must be a moment that exists, not before the year 2000, and milliseconds are written as a whole number."""
_MEANINGS = {
    "shipment_id": "The id the supplier was given with the dispatch.",
    "order_id": "The publisher's own id of the order.",
    "delivered_at": "When it arrived: ISO 8601 text, in UTC where it names no zone, or milliseconds since 1970.",
}
_EXAMPLES: list[dict[str, Any]] = [
    {"order_id": "A-1001", "delivered_at": "2026-03-01T14:05:00+01:00"},
    {"shipment_id": "4bf92f35-77b3-5da6-83ce-929d0e0e4736", "delivered_at": 1772370300000, "signed_by": "Ø. Hansen"},
]


def notice_schema() -> dict[str, Any]:
    """Return the JSON Schema of the worker's own model, with what its validators ask for beside it."""
    model = DeliveryNotice.model_json_schema()
    checked_by_hand: dict[str, dict[str, Any]] = {
        "shipment_id": {"anyOf": [{"type": "string", "pattern": f"^{UUID_PATTERN}$"}, {"type": "null"}]},
        "delivered_at": {
            "anyOf": [
                {"type": "string", "pattern": f"^{TIME_PATTERN}$"},
                {"type": "integer", "minimum": EARLIEST_MS, "maximum": LATEST_MS},
            ]
        },
    }
    fields = {
        name: {**checked_by_hand.get(name, field), "description": _MEANINGS[name]}
        for name, field in model["properties"].items()
    }
    names_one = [{"properties": {name: {"type": "string"}}, "required": [name]} for name in ("shipment_id", "order_id")]
    return {
        **model,
        "description": _DESCRIPTION.replace("\n", " "),
        "properties": fields,
        "anyOf": names_one,
        "additionalProperties": True,
        "examples": _EXAMPLES,
    }
