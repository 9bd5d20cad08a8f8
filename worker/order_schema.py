"""The order message as a JSON Schema, for the programs that publish orders."""

from typing import Any

from worker.domain.order import DEFAULT_MAX_BODY_BYTES, Order

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DESCRIPTION = f"""\
The body of a message on the exchange 'orders' with the routing key 'order.placed'. Fields not named here are kept, byte
for byte, and ignored. What no schema can say: the text is UTF-8 without a byte order mark; no object has a key twice;
there is no NaN or Infinity, no integer of more than 4300 digits, no nesting hundreds deep, and no half of a surrogate
pair in order_id and destination; the whole body has at most {DEFAULT_MAX_BODY_BYTES} bytes (the worker's
LOGISTICS_MAX_BODY_BYTES)."""
_MEANINGS = {
    "order_id": "The publisher's own id of the order. The same id again is the same order: it is shipped once.",
    "destination": "Where the goods go, as the supplier understands it.",
}
_EXAMPLES: list[dict[str, Any]] = [
    {"order_id": "A-1001", "destination": "Musterstraße 1, 10115 Berlin"},
    {"order_id": "A-1002", "destination": "Oslo", "weight_kg": 2.5, "tags": ["fragile"]},
]


def order_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that the worker's own order model gives."""
    model = Order.model_json_schema()
    fields = {name: {**field, "description": _MEANINGS[name]} for name, field in model["properties"].items()}
    return {
        "$schema": _DIALECT,
        **model,
        "description": _DESCRIPTION.replace("\n", " "),
        "properties": fields,
        "additionalProperties": True,
        "examples": _EXAMPLES,
    }
