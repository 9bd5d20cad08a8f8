"""What goes out in a replay: one fresh copy of a dead letter, to where its message came from first.

The copy carries `dead_letter_id` and `replay_id`, by which the worker that ships or fails it closes the loop.
"""

from dataclasses import dataclass

from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.delivery import PREVIOUS_SPAN, Delivery, MessageState
from worker.domain.delivery_notice import NOTICE_EXCHANGE, NOTICE_KEY
from worker.domain.outcome import DeadLetterReason


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message was published first."""

    exchange: str
    routing_key: str


def origin_of(letter: DeadLetterRecord, *, default: Origin) -> Origin:
    """Return where the letter's copy goes: where the message came from, `default` where nobody noted that.

    A message somebody put into the dead-letter queue by hand has no origin but that queue; it must not go there again.
    A delivery notice goes to the exchange of the notices, whatever else is known.
    """
    if letter.kind is LetterKind.DELIVERED:
        return Origin(NOTICE_EXCHANGE, NOTICE_KEY)
    noted = "origin_routing_key" in letter.headers or "x-death" in letter.headers
    if not (letter.origin_exchange or letter.origin_routing_key) or (
        letter.reason == DeadLetterReason.UNKNOWN and not noted
    ):
        return default
    return Origin(letter.origin_exchange, letter.origin_routing_key)


def replay_headers(letter: DeadLetterRecord, *, replay_id: str, origin: Origin) -> dict[str, object]:
    """Return the headers of a letter's copy: the publisher's own and the trace, counts from zero, no old error."""
    state = MessageState.read(Delivery(body=letter.body, headers=letter.headers), order_id=letter.order_id)
    headers: dict[str, object] = {
        **state.foreign,
        "trace_id": letter.trace_id,
        "traceparent": state.trace.traceparent,
        "attempt": 0,
        "deferrals": 0,
        "origin_exchange": origin.exchange,
        "origin_routing_key": origin.routing_key,
        "dead_letter_id": letter.id,
        "replay_id": replay_id,
    }
    if state.trace.tracestate is not None:
        headers["tracestate"] = state.trace.tracestate
    if state.previous_span is not None:
        headers[PREVIOUS_SPAN] = state.previous_span
    if letter.headers.get("origin_message_id") == state.origin_message_id:  # else it was absent or unusable
        headers["origin_message_id"] = state.origin_message_id
    return headers
