"""Filing: a message of `orders.dlq` becomes a dead letter in the store, once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.core import utc_now
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.dead_letter_reading import dead_letter_from, kind_of
from worker.domain.delivery import Delivery
from worker.domain.delivery_notice import readable_names
from worker.domain.errors import MalformedOrderError, ShipmentAlreadySettledError
from worker.domain.log import StructuredLogger
from worker.domain.order import DEFAULT_MAX_BODY_BYTES, parse_order, readable_order_id
from worker.domain.outcome import DeadLetterReason
from worker.domain.ports import IDeadLetters, IRepository
from worker.domain.shipment import Shipment, ShipmentStatus, shipment_id_for
from worker.domain.trace import gives_trace

ABANDONED_AFTER = timedelta(seconds=60)
"""A replay whose copy was not confirmed for this long never went out, as far as anybody knows."""

_log = StructuredLogger("logistics.filing")


class DeadLetterFiling:
    """Takes in dead letters and keeps their states true."""

    def __init__(
        self,
        *,
        dead_letters: IDeadLetters,
        repository: IRepository,
        worker_name: str,
        max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._dead_letters = dead_letters
        self._repository = repository
        self._worker = worker_name
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    async def file(self, delivery: Delivery) -> DeadLetterRecord:
        """Store the dead letter; return it as stored.

        Safe to repeat. Raises StoreUnavailableError; the message must be kept then.
        """
        if kind_of(delivery) is LetterKind.DELIVERED:
            return await self._file_notice(delivery)
        return await self._file_order(delivery)

    async def _file_order(self, delivery: Delivery) -> DeadLetterRecord:
        order_id = readable_order_id(delivery.body, max_bytes=self._max_body_bytes)
        shipment = await self._repository.find_shipment(shipment_id_for(order_id)) if order_id else None
        letter = dead_letter_from(delivery, order_id=order_id, now=self._clock(), shipment=shipment)
        letter = await self._of_its_replay(letter, claimed_id=delivery.headers.get("dead_letter_id"))
        stored = await self._store(letter)
        if order_id is not None and letter.reason != DeadLetterReason.MALFORMED:
            await self._agree_with_shipment(stored, order_id, delivery.body)
        return stored

    async def _file_notice(self, delivery: Delivery) -> DeadLetterRecord:
        """File a delivery notice: its order's shipment is not concerned, and lends it no more than its names."""
        order_id, shipment_id = readable_names(delivery.body, max_bytes=self._max_body_bytes)
        shipment = await self._repository.find_shipment(shipment_id) if shipment_id is not None else None
        if shipment is not None:
            order_id = order_id or shipment.order_id
            if not gives_trace(delivery.headers):
                delivery = replace(delivery, headers={**delivery.headers, "trace_id": shipment.trace_id})
        letter = dead_letter_from(delivery, order_id=order_id, now=self._clock(), kind=LetterKind.DELIVERED)
        letter = await self._of_its_replay(letter, claimed_id=delivery.headers.get("dead_letter_id"))
        return await self._store(letter)

    async def reopen_abandoned(self) -> int:
        """Reopen letters whose replay died between claiming them and the broker's confirm; return how many."""
        now = self._clock()
        return await self._dead_letters.reopen_abandoned(claimed_before=now - ABANDONED_AFTER, now=now)

    async def _of_its_replay(self, letter: DeadLetterRecord, *, claimed_id: object) -> DeadLetterRecord:
        """Return the letter under the id its header claims, where the store knows that very replay of it."""
        if letter.replay_id is None or not isinstance(claimed_id, str) or claimed_id == letter.id:
            return letter
        claimed = await self._dead_letters.get(claimed_id)
        if claimed is None or claimed.replay_id != letter.replay_id:
            return letter
        return replace(letter, id=claimed_id)

    async def _store(self, letter: DeadLetterRecord) -> DeadLetterRecord:
        existing = await self._dead_letters.insert(letter)
        while existing is not None:
            merged = existing.absorb(letter)
            if merged is existing or await self._dead_letters.replace(merged, expected=existing):
                return merged
            existing = await self._dead_letters.insert(letter)
        return letter

    async def _agree_with_shipment(self, letter: DeadLetterRecord, order_id: str, body: bytes) -> None:
        """Mark the shipment FAILED, or the letter resolved when the order was shipped meanwhile.

        The shipping side writes SHIPPED first and looks for letters then; this side writes the letter first and
        looks at the shipment then. So at least one of the two sees the other. An order that never got as far as a
        shipment gets a FAILED one, which tells whoever ships it later that there is a letter.
        """
        status = await self._repository.status_of(shipment_id_for(order_id))
        if status in {None, ShipmentStatus.PENDING}:
            status = await self._give_up_order(letter, body)
        if status is not None and status.is_settled:
            await self._dead_letters.resolve(
                order_id=order_id, letter_id=letter.id, replay_id=letter.replay_id, now=self._clock()
            )
            _log.info("dead_letter.resolved_already", order_id=order_id, dead_letter_id=letter.id)

    async def _give_up_order(self, letter: DeadLetterRecord, body: bytes) -> ShipmentStatus | None:
        """Mark the order's shipment FAILED, a new one where there is none; return the status it has then."""
        try:
            order = parse_order(body, max_bytes=self._max_body_bytes)
        except MalformedOrderError:
            return None  # it names an order, but is none
        new = Shipment.for_order(
            order.order_id,
            order.destination,
            trace_id=letter.trace_id,
            now=self._clock(),
            published_at=letter.published_at,
        )
        new.give_up(letter.reason, letter.error_message, now=self._clock(), worker=self._worker)
        shipment = await self._repository.start_shipment(new)
        try:
            if shipment.status is ShipmentStatus.PENDING:
                shipment.give_up(letter.reason, letter.error_message, now=self._clock(), worker=self._worker)
                await self._repository.save_shipment(shipment)
        except ShipmentAlreadySettledError:
            return ShipmentStatus.SHIPPED
        return shipment.status
