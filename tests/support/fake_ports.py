"""The repository and the supplier as fakes written by hand: they keep the contracts of `worker.domain.ports`."""

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from worker.domain.errors import (
    ShipmentAlreadySettledError,
    StoreUnavailableError,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
    SupplierUnavailableError,
)
from worker.domain.shipment import HistoryEvent, Shipment, ShipmentStatus
from worker.domain.trace import TraceContext, trace_context_ctx, trace_id_ctx

_MAX_HISTORY = 100


class FakeRepository:
    """`IRepository` in memory."""

    def __init__(self) -> None:
        self.shipments: dict[str, Shipment] = {}
        self.calls: list[str] = []
        self.is_down = False
        self.before: Callable[[str], Awaitable[None]] | None = None
        """Called with the name of each call; what it raises, the call raises, nothing done."""
        self.after: Callable[[str], Awaitable[None]] | None = None
        """The same, with the work done: as when the answer is lost on its way."""

    async def start_shipment(self, shipment: Shipment) -> Shipment:
        await self._begin("start_shipment")
        stored = self.shipments.get(shipment.id)
        if stored is None:
            if any(other.order_id == shipment.order_id for other in self.shipments.values()):
                raise LookupError(f"the order {shipment.order_id!r} has a shipment with a foreign id")
            self.shipments[shipment.id] = _kept(shipment)
        await self._end("start_shipment")
        if stored is None:
            _now_stored(shipment)
            return shipment
        found = _kept(stored)
        found.history.clear()
        return found

    async def save_shipment(self, shipment: Shipment) -> ShipmentStatus:
        await self._begin("save_shipment")
        stored = self.shipments.get(shipment.id)
        if stored is not None and stored.status.is_settled:
            shipment.stored_status = stored.status
            raise ShipmentAlreadySettledError(f"{shipment.id} is {stored.status}")
        replaced = ShipmentStatus.PENDING if stored is None else stored.status
        kept = _kept(stored or shipment)
        if stored is None or shipment.status is not ShipmentStatus.PENDING:
            kept.status = kept.stored_status = shipment.status
        kept.retry_count = max(kept.retry_count, shipment.retry_count)
        kept.updated_at, kept.last_error = shipment.updated_at, shipment.last_error
        kept.destination = shipment.destination
        earlier = [] if stored is None else stored.history
        kept.history = [*earlier, *shipment.new_events][-_MAX_HISTORY:]
        self.shipments[shipment.id] = kept
        await self._end("save_shipment")
        _now_stored(shipment)
        return replaced

    async def mark_delivered(
        self, shipment_id: str, *, delivered_at: datetime, now: datetime, worker: str
    ) -> Shipment | None:
        await self._begin("mark_delivered")
        stored = self.shipments.get(shipment_id)
        if stored is not None and stored.status is ShipmentStatus.SHIPPED:
            kept = _kept(stored)
            kept.status = kept.stored_status = ShipmentStatus.DELIVERED
            kept.delivered_at, kept.updated_at = delivered_at, now
            event = HistoryEvent(at=now, event="delivered", worker=worker)
            kept.history = [*stored.history, event][-_MAX_HISTORY:]
            self.shipments[shipment_id] = kept
        await self._end("mark_delivered")
        if stored is None:
            return None
        before = _kept(stored)
        before.history.clear()
        return before

    async def find_shipment(self, shipment_id: str) -> Shipment | None:
        await self._begin("find_shipment")
        stored = self.shipments.get(shipment_id)
        await self._end("find_shipment")
        return None if stored is None else _kept(stored)

    async def status_of(self, shipment_id: str) -> ShipmentStatus | None:
        await self._begin("status_of")
        stored = self.shipments.get(shipment_id)
        await self._end("status_of")
        return None if stored is None else stored.status

    async def _begin(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)  # lets others in, as a real store does; what follows is atomic
        if self.is_down:
            raise StoreUnavailableError("the fake store is down")
        if self.before is not None:
            await self.before(name)

    async def _end(self, name: str) -> None:
        if self.after is not None:
            await self.after(name)


def _kept(shipment: Shipment) -> Shipment:
    """Return a copy as it comes out of a store."""
    kept = copy.copy(shipment)
    kept.history, kept.new_events = list(shipment.history), []
    kept.stored_status = shipment.status
    return kept


def _now_stored(shipment: Shipment) -> None:
    shipment.new_events.clear()
    shipment.stored_status = shipment.status


@dataclass(frozen=True, slots=True)
class Answer:
    """What the supplier does with one request, as HTTP would say it."""

    status: int = 201
    accepted: bool = True
    retry_after: float | None = None
    dispatches: bool | None = None
    """Whether it dispatches although its answer says something else; None: when the answer is a yes."""
    lost: str | None = None
    """Why no whole answer comes back."""

    @property
    def is_yes(self) -> bool:
        return 200 <= self.status < 300 and self.accepted


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the supplier saw it."""

    shipment_id: str
    order_id: str
    destination: str
    trace_id: str
    traceparent: str


Scripted = Answer | BaseException | Callable[[Shipment], Awaitable[Answer]]


class FakeSupplier:
    """`ISupplierAPI` in memory: a supplier that honours idempotency keys and answers what it is told to.

    `script` is used up from the front; when it is empty, every request meets `otherwise`.
    """

    def __init__(self, *script: Scripted, otherwise: Scripted = Answer()) -> None:
        self.script = deque(script)
        self.otherwise = otherwise
        self.asked: list[Asked] = []
        self.dispatched: list[str] = []
        """Shipment ids, one entry for each dispatch really made."""

    async def request_dispatch(self, shipment: Shipment) -> bool:
        self.asked.append(_asked(shipment))
        scripted = self.script.popleft() if self.script else self.otherwise
        await asyncio.sleep(0)
        if isinstance(scripted, BaseException):
            raise scripted
        answer = scripted if isinstance(scripted, Answer) else await scripted(shipment)
        if (answer.is_yes if answer.dispatches is None else answer.dispatches) and shipment.id not in self.dispatched:
            self.dispatched.append(shipment.id)
        return _judged(answer)


def _judged(answer: Answer) -> bool:
    """Return True for a yes, raise what else the answer means (the design's section 2, word for word)."""
    if answer.lost is not None:
        raise SupplierOutcomeUnknownError(answer.lost)
    if 200 <= answer.status < 300:
        if not answer.accepted:
            raise SupplierRejectedError("not accepted")
        return True
    said = f"HTTP {answer.status}"
    if answer.status in (429, 503):
        raise SupplierUnavailableError(said, retry_after=answer.retry_after)
    if answer.status in (408, 425) or not 400 <= answer.status < 500:
        raise SupplierOutcomeUnknownError(said)
    raise SupplierRejectedError(said)


def _asked(shipment: Shipment) -> Asked:
    trace = trace_context_ctx.get() or TraceContext.from_headers({"trace_id": shipment.trace_id}, seed=shipment.id)
    return Asked(
        shipment_id=shipment.id,
        order_id=shipment.order_id,
        destination=shipment.destination,
        trace_id=trace_id_ctx.get() or shipment.trace_id,
        traceparent=trace.child_traceparent(),
    )
