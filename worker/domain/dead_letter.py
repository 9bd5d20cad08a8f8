"""A filed dead letter: what is kept of it, and how its state moves.

open ──claim──▶ replaying ──shipped──▶ resolved
 ▲ ▲               │
 │ └──failed again─┘  (replay_count + 1)
 └──failed after it was resolved or discarded
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from worker.domain.delivery import Delivery, MessageState, dead_letter_id_for
from worker.domain.delivery_notice import NOTICE_EXCHANGE, NOTICE_QUEUE
from worker.domain.fingerprint import fingerprint
from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import HistoryEvent, Shipment

_MAX_FILED = 50
_MAX_HISTORY = 100
_BROKER_ERRORS: dict[str, str] = {
    DeadLetterReason.DELIVERY_LIMIT: "DeliveryLimitExceeded",
    DeadLetterReason.EXPIRED: "MessageExpired",
}
_BROKER_REASONS = {
    "delivery_limit": (DeadLetterReason.DELIVERY_LIMIT, "the broker gave up on it"),
    "expired": (DeadLetterReason.EXPIRED, "the message's own expiration passed"),
}


class LetterKind(StrEnum):
    """What the message was."""

    ORDER = "order"
    DELIVERED = "delivered"
    """A supplier's delivery notice; it may name an order, but that order's shipping does not resolve it."""


@dataclass(frozen=True, slots=True)
class LetterEvent:
    """One thing that happened to a dead letter: `filed`, `replayed`, `taken`, `failed_again`, `resolved`, …"""

    at: datetime
    event: str
    replay_id: str | None = None
    by: str | None = None
    note: str | None = None
    job_id: str | None = None
    """The replay job it belongs to."""


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """One dead letter, as stored in `dead_letters`."""

    id: str
    state: DeadLetterState
    reason: str
    order_id: str | None
    trace_id: str
    body: bytes
    headers: Mapping[str, Any]
    error_type: str
    error_message: str
    error_chain: tuple[str, ...]
    fingerprint: str
    origin_exchange: str
    origin_routing_key: str
    first_failed_at: datetime
    dead_lettered_at: datetime
    attempts: tuple[HistoryEvent, ...] = ()
    replay_count: int = 0
    """Replays that failed again."""
    replay_id: str | None = None
    """The replay under way, or the last one."""
    job_id: str | None = None
    """The replay job of that replay; None when it was sent by hand."""
    kind: LetterKind = LetterKind.ORDER
    version: int = 0
    """Which body this is: 0 as it arrived, 1 after the first edit, …; the earlier ones are kept beside it."""
    published_at: datetime | None = None
    """When the message was published first, by the publisher's own timestamp."""
    expires_at: datetime | None = None
    """When a discarded letter goes; None for every other."""
    filed: tuple[str, ...] = ()
    """Which failures this record has taken in already; a redelivered one changes nothing."""
    history: tuple[LetterEvent, ...] = ()
    revision: int = 0

    def absorb(self, failure: "DeadLetterRecord") -> "DeadLetterRecord":
        """Return this letter after the same message failed (again); itself when that is known already.

        The body stays this letter's own: an edited copy carries the body that was stored when it went out. A replay
        that failed reopens the letter and is counted. A copy that fails while the letter is open refreshes
        it. A failure that is new after the letter was resolved opens it again, and any after it was discarded: a
        publisher may use a message id twice, and a discarded letter goes for good one day.
        """
        known = set(failure.filed) <= set(self.filed)
        if known and self.state is not DeadLetterState.DISCARDED:
            return self
        replayed = not known and failure.replay_id is not None and failure.replay_id == self.replay_id
        event = replace(failure.history[-1], event="failed_again", replay_id=failure.replay_id)
        if replayed:
            event = replace(event, job_id=self.job_id)
        return replace(
            failure,
            body=self.body,
            state=DeadLetterState.OPEN if replayed or self.state is not DeadLetterState.REPLAYING else self.state,
            first_failed_at=min(self.first_failed_at, failure.first_failed_at),
            attempts=failure.attempts or self.attempts,
            replay_count=self.replay_count + replayed,
            replay_id=self.replay_id,
            job_id=self.job_id,
            version=self.version,
            published_at=self.published_at or failure.published_at,
            filed=tuple(dict.fromkeys((*self.filed, *failure.filed)))[-_MAX_FILED:],
            history=(*self.history, event)[-_MAX_HISTORY:],
            revision=self.revision,
        )


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
    headers = delivery.headers
    reason, broker_error = _reason_of(headers)
    error_type = _text(headers.get("error_type")) if broker_error is None else _BROKER_ERRORS[reason]
    error_message = _text(headers.get("error_message")) if broker_error is None else broker_error
    chain = headers.get("error_chain")
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
        attempts=_attempts(shipment, reason, error_type or "Unknown", error_message or "no error was given", now),
        headers={**headers, "traceparent": state.trace.traceparent},
        error_type=error_type or "Unknown",
        error_message=error_message or "no error was given",
        error_chain=tuple(_text(line) for line in chain[:5])
        if isinstance(chain, list) and broker_error is None
        else (),
        fingerprint=fingerprint(
            error_type=error_type or "Unknown", frame=_text(headers.get("error_frame")), reason=reason
        ),
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
