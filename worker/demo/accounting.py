"""The demo's books: where every published order is now."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.shipments import MongoShipments
from worker.demo.orders import DemoOrder, Kind
from worker.domain.selection import DeadLetterState, Selection
from worker.domain.shipment import shipment_id_for

SHIPPED = "shipped"
WAITING = "on its way"


@dataclass(slots=True)
class Books:
    """Where the orders are, by kind."""

    places: dict[Kind, Counter[str]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Orders that are neither shipped nor an open dead letter yet."""
        return sum(places[WAITING] for places in self.places.values())

    def total(self, place: str) -> int:
        """Return how many orders are in a place."""
        return sum(places[place] for places in self.places.values())


async def take_stock(
    orders: Iterable[DemoOrder], *, shipments: MongoShipments, dead_letters: MongoDeadLetters
) -> Books:
    """Return where each order is, read from the store: every order is looked up, none is assumed."""
    orders = list(orders)
    letters = {
        letter.trace_id: letter.reason
        async for letter in dead_letters.search(Selection(state=DeadLetterState.OPEN), limit=len(orders) + 1)
    }
    settled = await shipments.settled_among([shipment_id_for(order.name) for order in orders])
    books = Books()
    for order in orders:
        place = SHIPPED if shipment_id_for(order.name) in settled else None
        reason = letters.get(order.name)
        if reason is not None:
            place = f"dead letter: {reason}" if place is None else f"in two places: shipped and {reason}"
        books.places.setdefault(order.kind, Counter())[place or WAITING] += 1
    return books
