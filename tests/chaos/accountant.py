"""The accountant: looks for every order, once, and says what is wrong. Pure: evidence in, findings out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Wrong(StrEnum):
    """What must never be."""

    LOST = "lost"
    """A confirmed order that is in no queue, not shipped and no open dead letter."""
    IN_TWO_PLACES = "in two places"
    DISPATCHED_TWICE = "dispatched twice"
    NEVER_DISPATCHED = "shipped without a dispatch"
    NOT_NOTED = "dispatched, but neither shipped nor in a queue or dead letter"
    ORPHAN = "nobody published it"
    BROKEN_TRACE = "trace broken"
    RETRY_WITHOUT_REASON = "retry without a reason"
    WRONG_COUNT = "failed tries not counted right"


@dataclass(frozen=True, slots=True)
class Queued:
    """One message of an order in a queue."""

    queue: str
    order_id: str
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Stored:
    """One order's shipment."""

    order_id: str
    status: str
    trace_id: str
    retry_count: int
    reasons: tuple[str | None, ...]
    """The error type of each failed try and deferral, in the order they happened."""
    failed_tries: int | None
    """How many of the history's events are failed tries; None where the history is cut at its limit."""


@dataclass(frozen=True, slots=True)
class OpenLetter:
    """One open or replaying dead letter."""

    order_id: str | None
    trace_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request the supplier got."""

    order_id: str
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that can be known from outside the worker."""

    confirmed: Mapping[str, str]
    """The publisher's confirmed orders, each with its trace id."""
    attempted: Mapping[str, str]
    """Orders that were sent and never confirmed: they may have arrived."""
    queued: Sequence[Queued] = ()
    stored: Sequence[Stored] = ()
    letters: Sequence[OpenLetter] = ()
    requests: Sequence[Request] = ()
    dispatches: Mapping[str, int] = field(default_factory=dict)
    """How often the supplier dispatched each order, by its own count."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    what: Wrong
    order_id: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.order_id}: {self.what}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True, slots=True)
class Account:
    """What the accountant says."""

    findings: Sequence[Finding]
    shipped: int
    open_letters: int
    queued: int
    duplicates_absorbed: int
    """Requests that came again for an order dispatched already, and changed nothing."""

    def count(self, *what: Wrong) -> int:
        """Return how many findings are of these kinds."""
        counts = Counter(finding.what for finding in self.findings)
        return sum(counts[each] for each in what)


_SETTLED = frozenset({"SHIPPED", "DELIVERED"})


def account(evidence: Evidence) -> Account:
    """Compare everything with everything."""
    stored = {each.order_id: each for each in evidence.stored}
    places = _places(evidence, stored)
    findings = [
        *_of_places(evidence, places),
        *_of_dispatches(evidence, stored, places),
        *_of_traces(evidence, stored),
        *_of_retries(evidence.stored),
    ]
    asked = Counter(request.order_id for request in evidence.requests)
    return Account(
        findings=findings,
        shipped=sum(each.status in _SETTLED for each in evidence.stored),
        open_letters=len(evidence.letters),
        queued=len(evidence.queued),
        duplicates_absorbed=sum(max(asked[order] - 1, 0) for order, count in evidence.dispatches.items() if count),
    )


def _places(evidence: Evidence, stored: Mapping[str, Stored]) -> Mapping[str, list[str]]:
    """Return where each order is: several messages of one order in the queues are one place, they ship once."""
    places: dict[str, list[str]] = defaultdict(list)
    for order in {message.order_id for message in evidence.queued}:
        places[order].append("a queue")
    for order, shipment in stored.items():
        if shipment.status in _SETTLED:
            places[order].append(shipment.status)
    for order, count in Counter(letter.order_id for letter in evidence.letters if letter.order_id).items():
        places[order].extend(["an open dead letter"] * count)
    return places


def _of_places(evidence: Evidence, places: Mapping[str, list[str]]) -> Iterable[Finding]:
    published = evidence.confirmed.keys() | evidence.attempted.keys()
    for order in evidence.confirmed:
        if not places.get(order):
            yield Finding(Wrong.LOST, order)
    for order, found in places.items():
        if len(found) > 1:
            yield Finding(Wrong.IN_TWO_PLACES, order, " and ".join(found))
    known = places.keys() | {each.order_id for each in evidence.stored} | evidence.dispatches.keys()
    for order in known - published:
        yield Finding(Wrong.ORPHAN, order)


def _of_dispatches(
    evidence: Evidence, stored: Mapping[str, Stored], places: Mapping[str, list[str]]
) -> Iterable[Finding]:
    for order, count in evidence.dispatches.items():
        if count > 1:
            yield Finding(Wrong.DISPATCHED_TWICE, order, f"{count} times")
        if count and not places.get(order):
            yield Finding(Wrong.NOT_NOTED, order)
    for order, shipment in stored.items():
        if shipment.status in _SETTLED and not evidence.dispatches.get(order):
            yield Finding(Wrong.NEVER_DISPATCHED, order)


def _of_traces(evidence: Evidence, stored: Mapping[str, Stored]) -> Iterable[Finding]:
    """Headers, document, supplier call and dead letter carry the trace that the publisher gave."""
    given = {**evidence.attempted, **evidence.confirmed}
    seen: list[tuple[str, str, str | None]] = [
        *((each.order_id, "the shipment", each.trace_id) for each in stored.values()),
        *((each.order_id, f"the queue {each.queue}", each.trace_id) for each in evidence.queued),
        *((each.order_id, "the dead letter", each.trace_id) for each in evidence.letters if each.order_id),
        *((each.order_id, "the supplier call", each.trace_id) for each in evidence.requests),
    ]
    for order, where, trace_id in seen:
        if order in given and trace_id != given[order]:
            yield Finding(Wrong.BROKEN_TRACE, order, f"{where} has {trace_id!r}")


def _of_retries(stored: Sequence[Stored]) -> Iterable[Finding]:
    for each in stored:
        if not all(each.reasons):
            yield Finding(Wrong.RETRY_WITHOUT_REASON, each.order_id)
        # Two copies of one order that fail at once are two tries noted and may be one counted; never the other way.
        if each.failed_tries is not None and not bool(each.failed_tries) <= each.retry_count <= each.failed_tries:
            yield Finding(Wrong.WRONG_COUNT, each.order_id, f"{each.retry_count} counted, {each.failed_tries} noted")
