"""The headers of messages as JSON Schemas: which there are, of which type, and which of them each message carries."""

from collections.abc import Iterable
from typing import Any

from worker.domain.delivery import PREVIOUS_SPAN
from worker.domain.outcome import DeadLetterReason
from worker.domain.trace import MAX_TRACE_ID_LENGTH

_TEXT = {"type": "string", "maxLength": 255}
_COUNT = {"type": "integer", "minimum": 0}
_MILLISECONDS = {"type": "integer", "minimum": 0}
_TRACEPARENT = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
_UUID = {"type": "string", "format": "uuid"}

HEADERS: dict[str, dict[str, Any]] = {
    "trace_id": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TRACE_ID_LENGTH,
        "description": "One id for the order's whole life; made from the order id where the publisher gives none.",
    },
    "traceparent": {
        "type": "string",
        "pattern": _TRACEPARENT,
        "description": "W3C trace context; kept and continued.",
    },
    "tracestate": {"type": "string", "maxLength": 512, "description": "W3C trace context; kept as it is."},
    "published_at": {
        **_MILLISECONDS,
        "description": "When the order was published; ms since 1970. The timestamp property has whole seconds only.",
    },
    PREVIOUS_SPAN: {
        "type": "string",
        "pattern": _TRACEPARENT,
        "description": "The span that sent this message, where spans are recorded: the next one links to it.",
    },
    "attempt": {**_COUNT, "description": "Failed tries so far."},
    "deferrals": {**_COUNT, "description": "Times put off without a try: circuit open, store down, order not shipped."},
    "first_failed_at": {**_MILLISECONDS, "description": "When it failed or was put off first; ms since 1970."},
    "not_before": {**_MILLISECONDS, "description": "It must not be tried before; ms since 1970."},
    "wait_left": {
        **_COUNT,
        "description": "Milliseconds of the wait that are left when the delay queue lets go of it.",
    },
    "error_type": {"type": "string", "description": "The name of the last error."},
    "error_message": {"type": "string", "description": "The last error, in words."},
    "error_frame": {"type": "string", "description": "Where in our code it was raised; groups dead letters."},
    "error_chain": {
        "type": "array",
        "items": {"type": "string"},
        "description": "The last error and what caused it, one line each.",
    },
    "dead_letter_reason": {
        "type": "string",
        "enum": [str(reason) for reason in DeadLetterReason],
        "description": "Why it is a dead letter. Absent when the broker gave up on it, or somebody put it there.",
    },
    "dead_letter_id": {**_UUID, "description": "The dead letter it is, or is the replayed copy of."},
    "replay_id": {**_UUID, "description": "The replay that sent this copy."},
    "origin_exchange": {**_TEXT, "description": "Where it was published first: the exchange."},
    "origin_routing_key": {**_TEXT, "description": "Where it was published first: the routing key."},
    "origin_message_id": {**_TEXT, "description": "The message id it was published with first."},
}
"""Every header we read or write, by name. AMQP integers, never floats."""

_TRACE = ("trace_id", "traceparent", "tracestate")
_ORIGIN = ("origin_exchange", "origin_routing_key", "origin_message_id")
_ERROR = ("error_type", "error_message", "error_frame", "error_chain")
_COUNTS = ("attempt", "deferrals")
_TIMES = ("first_failed_at", "not_before", "wait_left")
_REPLAY = ("dead_letter_id", "replay_id")


def published_headers(*, is_notice: bool) -> dict[str, Any]:
    """Return the headers a publisher may set, none of which is needed."""
    return _headers(_TRACE if is_notice else (*_TRACE, "published_at"))


def replayed_headers() -> dict[str, Any]:
    """Return the headers of a dead letter's copy."""
    names = (*_TRACE, PREVIOUS_SPAN, *_COUNTS, *_ORIGIN, *_REPLAY)
    return _headers(names, required=("trace_id", "traceparent", *_COUNTS, *_ORIGIN[:2], *_REPLAY))


def returned_headers(*, is_notice: bool) -> dict[str, Any]:
    """Return the headers of a message in a delay queue. A notice has no trace while its shipment's is not known."""
    needed = (*_COUNTS, *_ORIGIN, "wait_left") if is_notice else ("trace_id", "traceparent", *_COUNTS, *_ORIGIN)
    names = (*_TRACE, PREVIOUS_SPAN, *_COUNTS, *_TIMES, *_ORIGIN, *_ERROR, *_REPLAY)
    return _headers(names, required=needed)


def dead_letter_headers() -> dict[str, Any]:
    """Return the headers of a message that a worker has given up."""
    names = (*_TRACE, PREVIOUS_SPAN, *_COUNTS, "first_failed_at", *_ORIGIN, *_ERROR, "dead_letter_reason", *_REPLAY)
    needed = ("trace_id", "traceparent", *_COUNTS, *_ORIGIN, *_ERROR, "dead_letter_reason", "dead_letter_id")
    return _headers(names, required=needed)


def _headers(names: Iterable[str], *, required: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: HEADERS[name] for name in names},
        "required": list(required),
        "additionalProperties": True,
        "description": "The publisher's other headers are carried along.",
    }
