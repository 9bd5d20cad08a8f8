"""The heart: one order, from the parsed message to the outcome."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from worker.domain.delivery import MessageState, to_milliseconds
from worker.domain.errors import (
    MalformedOrderError,
    ShipmentAlreadySettledError,
    StoreUnavailableError,
    SupplierRejectedError,
)
from worker.domain.order import Order
from worker.domain.outcome import Ack, DeadLetter, DeadLetterReason, Defer, Outcome, Retry
from worker.domain.ports import IDeadLetters, IRepository, ISupplierAPI
from worker.domain.retry import RetryPolicy
from worker.domain.shipment import Shipment, ShipmentStatus
from worker.domain.taking import note_taken


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class LogisticsCore:
    """Turns an order into a shipment that is stored, dispatched and stored again."""

    def __init__(
        self,
        *,
        repository: IRepository,
        supplier: ISupplierAPI,
        dead_letters: IDeadLetters,
        policy: RetryPolicy,
        worker_name: str,
        clock: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._repository = repository
        self._supplier = supplier
        self._dead_letters = dead_letters
        self._policy = policy
        self._worker = worker_name
        self._clock = clock
        self._chance = chance
        self._one_at_a_time = KeyedLocks()

    async def process_order(self, order: Order, state: MessageState) -> Outcome:
        """Ship the order, once, and say what is to become of its message.

        Copies of one order are handled one after the other in this process; across processes the idempotency key
        and the store's refusal to take a SHIPPED shipment back keep a second dispatch away.
        """
        new = Shipment.for_order(
            order.order_id,
            order.destination,
            trace_id=state.trace.trace_id,
            now=self._clock(),
            published_at=state.published_at,
        )
        async with self._one_at_a_time.hold(new.id):
            try:
                return await self._process(new, state)
            except Exception as error:  # noqa: BLE001 - not even a failure could be stored: the policy has an answer
                return self.decide(error, state)

    async def refuse(self, error: MalformedOrderError, state: MessageState) -> Outcome:
        """Say what is to become of a message that is no order."""
        try:
            await note_taken(self._dead_letters, state, by=self._worker, now=self._clock())
        except Exception as fault:  # noqa: BLE001 - it comes back and is refused then
            return self.decide(fault, state)
        return self.decide(error, state)

    def decide(self, error: BaseException, state: MessageState) -> Outcome:
        """Return what the policy says about `error`, without touching the store."""
        return self._policy.decide(
            error,
            attempt=state.attempt,
            first_failed_at=state.first_failed_at,
            now=to_milliseconds(self._clock()),
            chance=self._chance(),
        )

    async def _process(self, new: Shipment, state: MessageState) -> Outcome:
        shipment = None
        try:
            await note_taken(self._dead_letters, state, by=self._worker, now=self._clock())
            shipment = await self._repository.start_shipment(new)
            if shipment.status.is_settled:
                return await self._acknowledge(shipment, state, note="duplicate")
            return await self._dispatch(shipment, new.destination, state)
        except ShipmentAlreadySettledError:
            return await self._acknowledge(new, state, note="duplicate")
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the policy has an answer
            return await self._failed(shipment, error, state)

    async def _dispatch(self, shipment: Shipment, destination: str, state: MessageState) -> Outcome:
        if shipment.destination != destination:
            shipment.redirect(destination, now=self._clock())
        if shipment.status is ShipmentStatus.FAILED:
            shipment.mark_tried_again(now=self._clock(), worker=self._worker)
        if not await self._supplier.request_dispatch(shipment):
            raise SupplierRejectedError("the supplier said no")
        shipment.mark_shipped(now=self._clock(), attempt=state.attempt + 1, worker=self._worker)
        replaced = await self._repository.save_shipment(shipment)
        return await self._acknowledge(
            shipment, state, note="shipped", may_have_letters=replaced is ShipmentStatus.FAILED
        )

    async def _acknowledge(
        self, shipment: Shipment, state: MessageState, *, note: str, may_have_letters: bool = True
    ) -> Outcome:
        """Close the loop: an order that is shipped has no open dead letter.

        A duplicate looks for letters, too: the try that shipped may have ended before it could.
        """
        if may_have_letters or state.dead_letter_id is not None:
            try:
                await self._dead_letters.resolve(
                    order_id=shipment.order_id,
                    letter_id=state.dead_letter_id if state.replay_id is not None else None,
                    replay_id=state.replay_id,
                    now=self._clock(),
                )
            except StoreUnavailableError as error:
                return self.decide(error, state)  # it comes back as a duplicate, and the loop is closed then
        return Ack(note)

    async def _failed(self, shipment: Shipment | None, error: Exception, state: MessageState) -> Outcome:
        outcome = self.decide(error, state)
        if shipment is None or isinstance(error, StoreUnavailableError):
            return outcome
        self._record(shipment, outcome, state)
        try:
            await self._repository.save_shipment(shipment)
        except ShipmentAlreadySettledError:
            return await self._acknowledge(shipment, state, note="duplicate")
        except StoreUnavailableError as store_error:
            return self.decide(store_error, state)
        return outcome

    def _record(self, shipment: Shipment, outcome: Outcome, state: MessageState) -> None:
        now = self._clock()
        match outcome:
            case Retry(error=error):
                delay = max(outcome.not_before - to_milliseconds(now), 0) / 1000
                shipment.record_failed_try(error, now=now, attempt=state.attempt + 1, worker=self._worker, delay=delay)
            case Defer(error=error) if error is not None:
                shipment.record_deferral(error, now=now, attempt=state.attempt, worker=self._worker)
            case DeadLetter(reason=reason, error=error):
                tries = state.attempt + (reason is not DeadLetterReason.EXPIRED)
                if tries > state.attempt:
                    shipment.record_failed_try(error, now=now, attempt=tries, worker=self._worker)
                shipment.mark_failed(error, now=now, attempt=tries, worker=self._worker)
            case _:
                pass


class KeyedLocks:
    """One lock a key, kept only while somebody holds or awaits it."""

    def __init__(self) -> None:
        self._locks: dict[str, _KeyedLock] = {}

    def hold(self, key: str) -> "_KeyedLock":
        """Hold the key's lock for the block: to be entered at once."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _KeyedLock(partial(self._locks.pop, key))
        return lock


class _KeyedLock:
    """A lock that tells when nobody needs it any more."""

    def __init__(self, forget: Callable[[], object]) -> None:
        self._lock = asyncio.Lock()
        self._users = 0
        self._forget = forget

    async def __aenter__(self) -> None:
        self._users += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._forget()
