"""What a message of `orders.dlq` is as a dead letter, whoever put it there: a worker, the broker, or somebody else."""

from collections.abc import Mapping
from datetime import UTC, datetime

from worker.domain.dead_letter import DeadLetterRecord, LetterEvent, LetterKind
from worker.domain.delivery import Delivery, MessageState, dead_letter_id_for
from worker.domain.delivery_notice import NOTICE_EXCHANGE, NOTICE_QUEUE
from worker.domain.fingerprint import fingerprint
from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import HistoryEvent, Shipment

_MAX_CHAIN = 5
_BROKER_ERRORS: dict[str, str] = {
    DeadLetterReason.DELIVERY_LIMIT: "DeliveryLimitExceeded",
    DeadLetterReason.EXPIRED: "MessageExpired",
    DeadLetterReason.UNKNOWN: "MessageRejected",
}
_BROKER_REASONS = {
    "delivery_limit": (DeadLetterReason.DELIVERY_LIMIT, "the broker gave up on it"),
    "expired": (DeadLetterReason.EXPIRED, "the message's own expiration passed"),
    "rejected": (DeadLetterReason.UNKNOWN, "rejected, perhaps because it is too large to be published again,"),
}


def kind_of(delivery: Delivery) -> LetterKind:
    """Return what a message of `orders.dlq` was, by where it was published or by the queue the broker took it from."""
    noted = "origin_routing_key" in delivery.headers
    exchange = _text(delivery.headers.get("origin_exchange")) if noted else _first_published(delivery)[0]
    queue = _text(_newest_death(delivery.headers).get("queue"))
    return LetterKind.DELIVERED if exchange == NOTICE_EXCHANGE or queue == NOTICE_QUEUE else LetterKind.ORDER


def dead_letter_from(
    delivery: Delivery,
    *,
    order_id: str | None,
    now: datetime,
    kind: LetterKind = LetterKind.ORDER,
    shipment: Shipment | None = None,
) -> DeadLetterRecord:
    """Return the open dead letter a message of `orders.dlq` is, whoever put it there.

    Its id is made anew from the message, never taken from a header, which anybody may have copied. `shipment`: the
    order's, whose failed tries are the letter's.
    """
    state = MessageState.read(delivery, order_id=order_id)
    reason, error_type, error_message, error_chain = _failure_of(delivery.headers)
    failed_at = datetime.fromtimestamp(state.first_failed_at / 1000, UTC) if state.first_failed_at else now
    exchange, routing_key = _origin(delivery, state)
    return DeadLetterRecord(
        id=dead_letter_id_for(
            order_id=order_id,
            body=delivery.body,
            message_id=state.origin_message_id,
            is_notice=kind is LetterKind.DELIVERED,
            is_malformed=reason == DeadLetterReason.MALFORMED,
        ),
        state=DeadLetterState.OPEN,
        reason=reason,
        order_id=order_id,
        trace_id=state.trace.trace_id,
        body=delivery.body,
        attempts=_attempts(shipment, reason, error_type, error_message, now),
        headers={**delivery.headers, "traceparent": state.trace.traceparent},
        error_type=error_type,
        error_message=error_message,
        error_chain=error_chain,
        fingerprint=fingerprint(error_type=error_type, frame=_text(delivery.headers.get("error_frame")), reason=reason),
        origin_exchange=exchange,
        origin_routing_key=routing_key,
        first_failed_at=failed_at,
        dead_lettered_at=now,
        replay_id=state.replay_id,
        kind=kind,
        published_at=delivery.published_at,
        filed=(f"{state.origin_message_id}:{state.replay_id or ''}",),
        history=(LetterEvent(at=now, event="filed", note=reason),),
    )


def _failure_of(headers: Mapping[str, object]) -> tuple[str, str, str, tuple[str, ...]]:
    """Return why it is a dead letter: the reason, and the error's type, message and chain."""
    reason, broker_error = _reason_of(headers)
    if broker_error is not None:
        return reason, _BROKER_ERRORS[reason], broker_error, ()
    chain = headers.get("error_chain")
    return (
        reason,
        _text(headers.get("error_type")) or "Unknown",
        _text(headers.get("error_message")) or "no error was given",
        tuple(_text(line) for line in chain[:_MAX_CHAIN]) if isinstance(chain, list) else (),
    )


def _reason_of(headers: Mapping[str, object]) -> tuple[str, str | None]:
    """Return the reason, and a sentence when it was the broker that gave up.

    Only a message that a worker dead-lettered has a `dead_letter_reason`: a replay's copy goes out without one.
    """
    if "dead_letter_reason" not in headers:
        last = _newest_death(headers)
        if _text(last.get("reason")) in _BROKER_REASONS:
            reason, words = _BROKER_REASONS[_text(last.get("reason"))]
            return reason, f"{words} in the queue {_text(last.get('queue'))[:200]}"
        return DeadLetterReason.UNKNOWN, None
    given = _text(headers["dead_letter_reason"])
    return (DeadLetterReason(given) if given in set(DeadLetterReason) else DeadLetterReason.UNKNOWN), None


def _newest_death(headers: Mapping[str, object]) -> Mapping[str, object]:
    deaths = headers.get("x-death")
    newest = deaths[0] if isinstance(deaths, list) and deaths else None
    return newest if isinstance(newest, Mapping) else {}


def _origin(delivery: Delivery, state: MessageState) -> tuple[str, str]:
    """Return where the message was published first, by the worker's note, else by what the broker tells."""
    if "origin_routing_key" in delivery.headers:
        return state.origin_exchange, state.origin_routing_key
    return _first_published(delivery)


def _attempts(
    shipment: Shipment | None, reason: str, error_type: str, error_message: str, now: datetime
) -> tuple[HistoryEvent, ...]:
    """Return one entry a try: the shipment's failed tries, or the one thing that is known."""
    concerned = shipment if reason != DeadLetterReason.MALFORMED else None
    tries = tuple(event for event in concerned.history if event.event == "attempt_failed") if concerned else ()
    if tries and reason != DeadLetterReason.DELIVERY_LIMIT:
        return tries
    attempt = len(tries) + 1
    last = HistoryEvent(at=now, event=reason, attempt=attempt, error_type=error_type, error_message=error_message)
    return (*tries, last)


def _first_published(delivery: Delivery) -> tuple[str, str]:
    """Return where the broker first took the message; its dead-lettering keeps the key, not the exchange."""
    exchange, key = delivery.headers.get("x-first-death-exchange"), delivery.routing_key
    deaths = delivery.headers.get("x-death")
    first = deaths[-1] if isinstance(deaths, list) and deaths and isinstance(deaths[-1], Mapping) else {}
    keys = first.get("routing-keys")
    if isinstance(keys, list) and keys:
        key = _text(keys[0])
    return _text(first.get("exchange", exchange)), key


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value)[:1000].replace("\x00", "\N{REPLACEMENT CHARACTER}") if value is not None else ""
