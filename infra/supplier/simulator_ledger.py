"""What the simulated supplier remembers: counts, the last requests, and every idempotency key with its dispatch."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import NamedTuple

from infra.supplier.simulator_contract import DispatchOrder

_KEPT_BREACHES = 20


@dataclass(slots=True)
class Record:
    """One request as it arrived, and what it was answered: a status, `timeout`, `reset`, `cut` or `abandoned`.

    The answer is None while the request is in flight; what the request did not say is None too.
    """

    time: int
    idempotency_key: str | None
    trace_id: str | None
    traceparent: str | None
    order_id: str | None = None
    shipment_id: str | None = None
    answer: str | None = None


class Dispatch(NamedTuple):
    """A dispatch that was made, at `time` in milliseconds since the epoch."""

    dispatch_id: str
    time: int
    shipment_id: str
    order_id: str
    destination: str


class Entry(Enum):
    """What became of an order that was to be dispatched."""

    DISPATCHED = auto()
    REPEATED = auto()
    CONFLICT = auto()


class Ledger:
    """Everything the supplier remembers since it was started or reset.

    Bounded (`keep_requests` recorded requests, the last breaches) but for the idempotency keys and dispatches: a
    supplier that forgets a key dispatches twice. They cost about 1 kB an order; a reset frees them.
    """

    def __init__(self, keep_requests: int = 10_000) -> None:
        self._records: deque[Record] = deque(maxlen=keep_requests)
        self._breaches: deque[str] = deque(maxlen=_KEPT_BREACHES)
        self._answers: Counter[str] = Counter()
        self._requests_of_key: dict[str, int] = {}
        self._dispatch_of_key: dict[str, Dispatch] = {}
        self._dispatches_of_order: dict[str, list[Dispatch]] = {}
        self._requests = self._dispatches = self._double = self._repeated = 0
        self._conflicts = self._contract_breaches = self._in_flight = self._max_in_flight = 0

    def arrive(self, headers: Mapping[str, str]) -> Record:
        """Record a request that has just arrived; `leave` must follow, whatever happens in between."""
        now, header = time.time_ns() // 1_000_000, headers.get
        record = Record(now, header("Idempotency-Key"), header("X-Trace-Id"), header("traceparent"))
        self._records.append(record)
        self._requests += 1
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        return record

    def identify(self, record: Record, order: DispatchOrder) -> int:
        """Note which order a request is about; returns the request's number for its key, from 1."""
        record.order_id, record.shipment_id = order.order_id, order.shipment_id
        number = self._requests_of_key.get(order.shipment_id, 0) + 1
        self._requests_of_key[order.shipment_id] = number
        return number

    def breach(self, sentence: str) -> None:
        """Count a breach of the contract."""
        self._contract_breaches += 1
        self._breaches.append(sentence)

    def has_dispatched(self, key: str) -> bool:
        """Whether a request with this idempotency key was dispatched."""
        return key in self._dispatch_of_key

    def dispatch(self, order: DispatchOrder, *, honour_idempotency: bool) -> tuple[Entry, Dispatch]:
        """Dispatch an order, unless its key was dispatched before: then that first dispatch is returned.

        Only a dispatch binds a key to its body: after a refusal, the same key may come with a corrected body.
        """
        first = self._dispatch_of_key.get(order.shipment_id)
        if first is None or not honour_idempotency:
            return Entry.DISPATCHED, self._enter(order)
        if (first.order_id, first.destination) != (order.order_id, order.destination):
            self._conflicts += 1
            return Entry.CONFLICT, first
        self._repeated += 1
        return Entry.REPEATED, first

    def _enter(self, order: DispatchOrder) -> Dispatch:
        self._dispatches += 1
        dispatch = Dispatch(f"D-{self._dispatches:08}", time.time_ns() // 1_000_000, *order)
        # Twice by its key or twice by its order: a client that invents a new key for each try is caught as well.
        self._double += order.shipment_id in self._dispatch_of_key or order.order_id in self._dispatches_of_order
        self._dispatch_of_key.setdefault(order.shipment_id, dispatch)
        self._dispatches_of_order.setdefault(order.order_id, []).append(dispatch)
        return dispatch

    def answered(self, record: Record, answer: str) -> None:
        """Note an answer; to be called before it is sent, so that whoever got it finds it counted."""
        record.answer = answer
        self._answers[answer] += 1

    def leave(self, record: Record) -> None:
        """End a request; one without an answer was abandoned by its client, or cut off by the simulator's stop."""
        self._in_flight -= 1
        if record.answer is None:
            self.answered(record, "abandoned")

    def requests(self, order_id: str | None = None, limit: int = 100) -> list[dict[str, object]]:
        """The last recorded requests, of one order or of all, in the order they arrived."""
        found: list[dict[str, object]] = []
        for record in reversed(self._records):
            if len(found) == limit:
                break
            if order_id is None or record.order_id == order_id:
                found.append(asdict(record))
        return found[::-1]

    def dispatches(self, order_id: str) -> list[dict[str, object]]:
        """Every dispatch of an order, first to last: more than one is a double dispatch."""
        return [dispatch._asdict() for dispatch in self._dispatches_of_order.get(order_id, [])]

    def stats(self) -> dict[str, object]:
        """The counts since the start or the last reset."""
        return {
            "requests": self._requests,
            "requests_by_status": dict(self._answers),
            "distinct_idempotency_keys": len(self._requests_of_key),
            "dispatches": self._dispatches,
            "distinct_dispatched_keys": len(self._dispatch_of_key),
            "distinct_dispatched_orders": len(self._dispatches_of_order),
            "double_dispatches": self._double,
            "repeated": self._repeated,
            "conflicts": self._conflicts,
            "contract_breaches": self._contract_breaches,
            "last_contract_breaches": list(self._breaches),
            "in_flight": self._in_flight,
            "max_in_flight": self._max_in_flight,
        }
