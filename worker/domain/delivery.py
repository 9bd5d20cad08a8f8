"""A delivery, and what its headers say: read once, trusted never, written back whole."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from worker.domain.fingerprint import error_chain, top_frame
from worker.domain.header_reader import HeaderReader, usable_text
from worker.domain.outcome import DeadLetter, DeadLetterReason, Defer, Retry
from worker.domain.shipment import describe_error
from worker.domain.trace import TraceContext, valid_traceparent

# The broker's own notes. A copied x-death makes RabbitMQ 3.10 drop the message as a cycle.
_BROKER_HEADERS = frozenset({"x-death", "x-delivery-count", "x-acquired-count"})
_BROKER_PREFIXES = ("x-first-death-", "x-last-death-")
PUBLISHED_AT = "published_at"
"""A publisher's header: milliseconds since 1970."""
PREVIOUS_SPAN = "previous_span"
"""The header that names the span which sent a message, for the next one to link to. Nothing depends on it."""
_DEAD_LETTER_NAMESPACE = uuid.UUID("0c8f4c55-9f5e-5a8b-8f0b-6d4e1f1f2d11")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as the broker handed it out."""

    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)
    message_id: str | None = None
    exchange: str = ""
    routing_key: str = ""
    redelivered: bool = False
    published_at: datetime | None = None
    """The publisher's timestamp property, where it set one."""


@dataclass(frozen=True, slots=True)
class MessageState:
    """What the headers of a delivery say, each value checked; an unusable one counts as absent."""

    trace: TraceContext
    published_at: datetime | None
    """When the order was published first, by its publisher's word."""
    attempt: int
    """Failed tries so far."""
    deferrals: int
    first_failed_at: int | None
    """Milliseconds since the epoch."""
    not_before: int | None
    """Milliseconds since the epoch."""
    wait_left: int | None
    """Milliseconds of the wait that the delay queue did not cover."""
    origin_exchange: str
    origin_routing_key: str
    origin_message_id: str
    dead_letter_id: str | None
    replay_id: str | None
    previous_span: str | None
    """The traceparent of the span that sent this message, if it was recorded."""
    ignored: tuple[str, ...]
    """Names of own headers whose value was unusable."""
    foreign: Mapping[str, object]
    """The publisher's other headers, carried along."""

    @classmethod
    def read(cls, delivery: Delivery, *, order_id: str | None) -> "MessageState":
        """Read the headers of a delivery, whatever they hold."""
        reader = HeaderReader(delivery.headers)
        message_id = reader.text("origin_message_id") or usable_text(delivery.message_id)
        seed = order_id or message_id or hashlib.sha256(delivery.body).hexdigest()
        trace = TraceContext.from_headers(delivery.headers, seed=seed)
        if delivery.headers.get("trace_id", trace.trace_id) != trace.trace_id:
            reader.ignored.append("trace_id")
        returned = "origin_routing_key" in delivery.headers
        return cls(
            trace=trace,
            published_at=_first_published(delivery),
            attempt=reader.count("attempt") or 0,
            deferrals=reader.count("deferrals") or 0,
            first_failed_at=reader.milliseconds("first_failed_at"),
            not_before=reader.milliseconds("not_before"),
            wait_left=reader.milliseconds("wait_left"),
            origin_exchange=(reader.text("origin_exchange") if returned else None) or delivery.exchange,
            origin_routing_key=(reader.text("origin_routing_key") if returned else None) or delivery.routing_key,
            origin_message_id=message_id or uuid.uuid4().hex,
            dead_letter_id=reader.identifier("dead_letter_id"),
            replay_id=reader.identifier("replay_id"),
            previous_span=valid_traceparent(delivery.headers.get(PREVIOUS_SPAN)),
            ignored=tuple(reader.ignored),
            foreign={name: value for name, value in delivery.headers.items() if is_foreign(name)},
        )

    @property
    def untried_replay(self) -> tuple[str, str] | None:
        """The dead letter and the replay that this message is the copy of, before its first failed try."""
        if self.dead_letter_id is None or self.replay_id is None or self.attempt:
            return None
        return self.dead_letter_id, self.replay_id

    def headers_after(
        self,
        outcome: Retry | Defer | DeadLetter,
        *,
        now: int,
        body: bytes,
        order_id: str | None,
        is_notice: bool = False,
    ) -> dict[str, object]:
        """Return the headers of the message that goes out in this one's place.

        `is_notice`: it is a delivery notice, which may name an order but is none.
        """
        counted = isinstance(outcome, Retry) or (isinstance(outcome, DeadLetter) and _is_failed_try(outcome.reason))
        deferred = isinstance(outcome, Defer) and outcome.error is not None
        headers: dict[str, object] = {
            **self.foreign,
            "trace_id": self.trace.trace_id,
            "traceparent": self.trace.traceparent,
            "attempt": self.attempt + counted,
            "deferrals": self.deferrals + deferred,
            "origin_exchange": self.origin_exchange,
            "origin_routing_key": self.origin_routing_key,
            "origin_message_id": self.origin_message_id,
        }
        if self.trace.tracestate is not None:
            headers["tracestate"] = self.trace.tracestate
        first_failed_at = self.first_failed_at if outcome.error is None else self.first_failed_at or now
        optional = {
            "first_failed_at": first_failed_at,
            "dead_letter_id": self.dead_letter_id,
            "replay_id": self.replay_id,
            "not_before": self._not_before(outcome),
            PREVIOUS_SPAN: self.previous_span,
            "wait_left": None if isinstance(outcome, DeadLetter) else outcome.wait_left,
        }
        headers.update({name: value for name, value in optional.items() if value is not None})
        if outcome.error is not None:
            headers.update(_error_headers(outcome.error))
        if isinstance(outcome, DeadLetter):
            headers["dead_letter_reason"] = str(outcome.reason)
            headers["dead_letter_id"] = self.dead_letter_id or dead_letter_id_for(
                order_id=order_id,
                body=body,
                message_id=self.origin_message_id,
                is_notice=is_notice,
                is_malformed=outcome.reason is DeadLetterReason.MALFORMED,
            )
        return headers

    def _not_before(self, outcome: Retry | Defer | DeadLetter) -> int | None:
        if isinstance(outcome, DeadLetter):
            return None
        if outcome.error is None and self.not_before is not None:
            return self.not_before  # it only came back too early: its time has not changed
        return outcome.not_before


def dead_letter_id_for(
    *, order_id: str | None, body: bytes, message_id: str, is_notice: bool = False, is_malformed: bool = False
) -> str:
    """Return the id of the dead letter this message becomes.

    Of an order it is made from order id and body, so that fifty copies of one order are one dead letter; of a
    delivery notice from its body; of what is neither from the message id, so that each message is its own. Either way
    the same message dead-lettered twice (the worker died between publish and ack) is filed once. What was published
    both as an order and as a notice is two dead letters.
    """
    digest = hashlib.sha256(body).hexdigest()
    if is_malformed or (order_id is None and not is_notice):
        name = f"{'notice-' if is_notice else ''}message:{message_id}:{digest}"
    else:
        name = f"notice:{digest}" if is_notice else f"order:{order_id}:{digest}"
    return str(uuid.uuid5(_DEAD_LETTER_NAMESPACE, name))


def to_milliseconds(at: datetime) -> int:
    """Return a time as headers carry it."""
    return int(at.timestamp() * 1000)


def _first_published(delivery: Delivery) -> datetime | None:
    """Return what the publisher's header says, which every copy carries on, else its timestamp, in whole seconds.

    The timestamp of a replay's copy tells when it was replayed.
    """
    exact = HeaderReader(delivery.headers).milliseconds("published_at")
    if exact is not None:
        return datetime.fromtimestamp(exact / 1000, UTC)
    return None if "replay_id" in delivery.headers else delivery.published_at


def _is_failed_try(reason: DeadLetterReason) -> bool:
    return reason in {DeadLetterReason.ATTEMPTS_EXHAUSTED, DeadLetterReason.SUPPLIER_REJECTED}


def _error_headers(error: BaseException) -> dict[str, object]:
    return {
        "error_type": type(error).__name__,
        "error_message": describe_error(error),
        "error_frame": top_frame(error),
        "error_chain": error_chain(error),
    }


_OWN_HEADERS = frozenset(
    {
        *(
            "trace_id",
            "traceparent",
            "tracestate",
            "attempt",
            "deferrals",
            "first_failed_at",
            "not_before",
            "wait_left",
        ),
        *("error_type", "error_message", "error_frame", "error_chain", "dead_letter_reason", "dead_letter_id"),
        *("origin_exchange", "origin_routing_key", "origin_message_id", "replay_id", PREVIOUS_SPAN),
    }
)


def is_foreign(name: str) -> bool:
    """Whether a header is the publisher's, neither the worker's own nor the broker's."""
    return name not in _OWN_HEADERS and name not in _BROKER_HEADERS and not name.startswith(_BROKER_PREFIXES)
