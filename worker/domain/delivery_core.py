"""One delivery notice, from the parsed message to the outcome: SHIPPED becomes DELIVERED."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.domain.core import utc_now
from worker.domain.delivery import MessageState, to_milliseconds
from worker.domain.delivery_notice import DeliveryNotice
from worker.domain.errors import EarlyNoticeError, MalformedNoticeError, UnknownShipmentError
from worker.domain.outcome import Ack, Outcome
from worker.domain.ports import IDeadLetters, IRepository
from worker.domain.retry import RetryPolicy
from worker.domain.shipment import Shipment, ShipmentStatus
from worker.domain.taking import note_taken


@dataclass(frozen=True, slots=True)
class NoticeResult:
    """What became of a notice."""

    outcome: Outcome
    shipment: Shipment | None = None
    """The shipment it is about, as it was before; None when it was not found or not looked for."""


class DeliveryCore:
    """Takes shipments from SHIPPED to DELIVERED."""

    def __init__(
        self,
        *,
        repository: IRepository,
        dead_letters: IDeadLetters,
        policy: RetryPolicy,
        worker_name: str,
        clock: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._repository = repository
        self._dead_letters = dead_letters
        self._policy = policy
        self._worker = worker_name
        self._clock = clock
        self._chance = chance

    async def process_notice(self, notice: DeliveryNotice, state: MessageState) -> NoticeResult:
        """Mark the shipment DELIVERED, once, and say what is to become of the notice.

        Copies need no lock: the store itself lets only one of them through.
        """
        before = None
        try:
            await self._take(state)
            before = await self._repository.mark_delivered(
                notice.shipment, delivered_at=notice.delivered_at, now=self._clock(), worker=self._worker
            )
            note = _judged(before)
            await self._resolve(state)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the policy has an answer
            return NoticeResult(self._decide(error, state), before)
        return NoticeResult(Ack(note), before)

    async def refuse(self, error: MalformedNoticeError, state: MessageState) -> NoticeResult:
        """Say what is to become of a message that is no notice."""
        try:
            await self._take(state)
        except Exception as fault:  # noqa: BLE001 - it comes back and is refused then
            return NoticeResult(self._decide(fault, state))
        return NoticeResult(self._decide(error, state))

    async def _take(self, state: MessageState) -> None:
        await note_taken(self._dead_letters, state, by=self._worker, now=self._clock())

    async def _resolve(self, state: MessageState) -> None:
        """Close the loop of a replay. If the store is down now, the notice comes back as a duplicate and closes it."""
        if state.dead_letter_id is not None and state.replay_id is not None:
            await self._dead_letters.resolve(
                order_id=None, letter_id=state.dead_letter_id, replay_id=state.replay_id, now=self._clock()
            )

    def _decide(self, error: BaseException, state: MessageState) -> Outcome:
        return self._policy.decide(
            error,
            attempt=state.attempt,
            deferrals=state.deferrals,
            first_failed_at=state.first_failed_at,
            now=to_milliseconds(self._clock()),
            chance=self._chance(),
        )


def _judged(before: Shipment | None) -> str:
    """Return `delivered` or `duplicate`, by what the shipment was before the notice came; raise for any other."""
    if before is None:
        raise UnknownShipmentError("there is no such shipment: no order was taken for it, or in another database")
    if not before.status.is_settled:
        raise EarlyNoticeError(f"the shipment is {before.status}: the notice waits until it is SHIPPED")
    return "delivered" if before.status is ShipmentStatus.SHIPPED else "duplicate"
