"""Whether every order was shipped exactly once, by the books of the supplier and of the store."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.arena import Place
from benchmarks.drain import RunFailed


@dataclass(frozen=True, slots=True)
class Books:
    """What supplier, store and broker say of one run."""

    dispatches: int
    dispatched_orders: int
    double_dispatches: int
    shipped: int
    stored: int
    waiting: int
    dead: int

    def objection(self, orders: int, *, elsewhere: int = 0) -> str | None:
        """Return why this is not so many orders, each shipped once, and nothing besides; None when it is.

        `elsewhere`: orders that were dispatched for other places.
        """
        asked = orders + elsewhere
        if (self.dispatches, self.dispatched_orders, self.double_dispatches) != (asked, asked, 0):
            return f"the supplier dispatched {self.dispatches} times, for {self.dispatched_orders} of {asked} orders"
        if (self.shipped, self.stored) != (orders, orders):
            return f"the store has {self.shipped} SHIPPED of {self.stored} shipments for {orders} orders"
        if self.waiting or self.dead:
            return f"{self.waiting} orders wait and {self.dead} are dead letters"
        return None


async def check_shipped_once(place: Place, orders: int, *, elsewhere: int = 0, patience: float = 10.0) -> None:
    """Return when so many orders, and no others, are SHIPPED in the store and dispatched once each.

    `elsewhere`: orders that the supplier has dispatched for other places since it last forgot everything. Raises
    RunFailed when it is not so, nor becomes so within `patience` seconds: the last ones may be on their way.
    """
    deadline = time.monotonic() + patience
    while (objection := (await _read(place)).objection(orders, elsewhere=elsewhere)) is not None:
        if time.monotonic() > deadline:
            raise RunFailed(f"the figure does not count: {objection}")
        await asyncio.sleep(0.1)


async def _read(place: Place) -> Books:
    supplier = await place.arena.supplier_counts()
    shipments = place.database["shipments"]
    return Books(
        dispatches=supplier["dispatches"],
        dispatched_orders=supplier["distinct_dispatched_orders"],
        double_dispatches=supplier["double_dispatches"],
        shipped=await shipments.count_documents({"status": "SHIPPED"}),
        stored=await shipments.count_documents({}),
        waiting=await place.waiting(),
        dead=await place.dead(),
    )
