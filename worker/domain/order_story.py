"""One order's story: its shipment, its dead letters, and one timeline from publish to delivered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_story import TimelineEntry, published
from worker.domain.ports import IDeadLetterSearch
from worker.domain.selection import Selection
from worker.domain.shipment import Shipment, shipment_id_for

_MOST = 50
"""Orders that one trace ID may lead to, and letters that one order may have, at most."""


class IShipmentSearch(Protocol):
    """Finding shipments. Raises StoreUnavailableError."""

    async def find_shipment(self, shipment_id: str) -> Shipment | None:
        """Return one shipment."""
        ...

    async def with_trace(self, trace_id: str, *, limit: int) -> Sequence[Shipment]:
        """Return the shipments with this trace ID, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class OrderStory:
    """Everything that is known of one order."""

    order_id: str
    shipment: Shipment | None
    letters: Sequence[DeadLetterRecord]
    """Newest first."""
    timeline: Sequence[TimelineEntry]
    """Oldest first."""

    @property
    def trace_id(self) -> str | None:
        """The trace ID it travels under."""
        if self.shipment is not None:
            return self.shipment.trace_id
        return self.letters[0].trace_id if self.letters else None


class OrderStories:
    """Finds orders and tells their stories."""

    def __init__(self, *, dead_letters: IDeadLetterSearch, shipments: IShipmentSearch) -> None:
        self._dead_letters = dead_letters
        self._shipments = shipments

    async def find(self, text: str) -> list[str]:
        """Return the order ids that this order id, shipment id or trace ID leads to; none when nothing has it.

        Raises StoreUnavailableError.
        """
        found = await self._shipments.find_shipment(shipment_id_for(text)) or await self._shipments.find_shipment(text)
        if found is not None:
            return [found.order_id]
        ids = [shipment.order_id for shipment in await self._shipments.with_trace(text, limit=_MOST)]
        for selection in (Selection(order_id=text), Selection(trace_id=text)):
            ids += [letter.order_id or "" for letter in await self._letters(selection)]
        return [order_id for order_id in dict.fromkeys(ids) if order_id]

    async def of(self, order_id: str) -> OrderStory | None:
        """Return an order's story, None when nothing is known of it. Raises StoreUnavailableError."""
        shipment = await self._shipments.find_shipment(shipment_id_for(order_id))
        letters = await self._letters(Selection(order_id=order_id))
        if shipment is None and not letters:
            return None
        return OrderStory(order_id, shipment, letters, _timeline(shipment, letters))

    async def _letters(self, selection: Selection) -> list[DeadLetterRecord]:
        return [letter async for letter in self._dead_letters.search(selection, limit=_MOST)]


def _timeline(shipment: Shipment | None, letters: Sequence[DeadLetterRecord]) -> list[TimelineEntry]:
    entries = [TimelineEntry("shipment", event) for event in (shipment.history if shipment is not None else ())]
    for letter in letters:
        entries += [TimelineEntry(f"dead letter {letter.id}", event) for event in letter.history]
    return [*published(shipment, letters), *sorted(entries, key=lambda entry: entry.event.at)]
