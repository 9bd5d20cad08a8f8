"""The demo's story: a normal day, an outage, a warehouse that is down, and the replay when it is fixed."""

import asyncio
import time
from collections.abc import Sequence

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from infra.mongodb.workers import MongoWorkerReports
from infra.rabbitmq.publisher import ConfirmedPublisher
from infra.rabbitmq.topology import ORDERS_EXCHANGE, PLACED_KEY
from worker.demo import orders as demo_orders
from worker.demo.accounting import Books, take_stock
from worker.demo.orders import DemoOrder, Kind
from worker.demo.stack import SupplierControl
from worker.demo.view import DemoView
from worker.domain.audit import Audit
from worker.domain.errors import LogisticsError
from worker.domain.outcome import DeadLetterReason
from worker.domain.replay_job import ItemState, ReplayOptions
from worker.domain.replay_jobs import ReplayJobs
from worker.domain.selection import DeadLetterState, Selection
from worker.settings import Settings

SETTINGS = {
    "LOGISTICS_RETRY_DELAYS": "500ms,1s,2s",
    "LOGISTICS_MAX_ATTEMPTS": "4",
    "LOGISTICS_BREAKER_FAILURE_THRESHOLD": "25",
    "LOGISTICS_BREAKER_RECOVERY_TIMEOUT": "2s",
    "LOGISTICS_SUPPLIER_TIMEOUT": "5s",
    "LOGISTICS_PREFETCH": "50",
}
"""Settings that fit a story of a minute: short delays, and a circuit that one broken warehouse does not open."""

_OUTAGE_SECONDS = 8.0
_PHASE_TIMEOUT = 60.0


class DemoError(LogisticsError):
    """The demo did not end as it should have."""


class Story:
    """Publishes, watches and counts."""

    def __init__(self, settings: Settings, view: DemoView) -> None:
        self._view = view
        self._store = MongoStore(settings.required("mongodb_uri"), database=settings.mongodb_database)
        self._shipments, self._letters = MongoShipments(self._store), MongoDeadLetters(self._store)
        self._workers = MongoWorkerReports(self._store)
        self._amqp_url = settings.required("amqp_url")
        self._publisher = ConfirmedPublisher(self._amqp_url, name="demo publish")
        self._supplier = SupplierControl(settings.required("supplier_url"))
        self._published: list[DemoOrder] = []

    async def tell(self, total: int) -> None:
        """Run the whole story with about `total` orders. Raises DemoError when the books do not balance."""
        try:
            await self._normal_day(total * 75 // 100)
            await self._outage(total * 10 // 100)
            await self._north_down(north=total * 2 // 100, others=total * 13 // 100)
            books = await self._settled()
            self._view.table("Every published order, accounted for", books)
            self._check(books)
            await self._replay()
            books = await self._settled()
            self._view.table("After the replay", books)
            self._check(books, nothing_north=True)
            self._show_supplier()
        finally:
            await self._publisher.close()
            await self._store.close()

    async def _normal_day(self, total: int) -> None:
        self._view.headline(f"a normal day: {total} orders, some flaky, some refused, some malformed")
        self._supplier.change(latency=0.01, rules=demo_orders.SUPPLIER_RULES)
        await self._publish_watched(demo_orders.normal_day(total))
        await self._settled()

    async def _outage(self, total: int) -> None:
        self._view.headline(f"the supplier answers 503 to everything; {total} orders are placed meanwhile")
        self._supplier.change(outage=True, retry_after=None)
        started = time.monotonic()
        await self._publish_watched(demo_orders.outage(total))
        await self._watch(until=started + _OUTAGE_SECONDS)
        self._supplier.change(outage=False)
        self._view.say("the supplier is back: one order probes, then the others follow")
        await self._settled()

    async def _north_down(self, *, north: int, others: int) -> None:
        self._view.headline(f"only the north warehouse is down: {north} of {north + others} orders cannot succeed")
        self._supplier.change(rules=[*demo_orders.SUPPLIER_RULES, demo_orders.NORTH_DOWN])
        await self._publish_watched(demo_orders.north_down(north, others), pause=0.04)

    async def _replay(self) -> None:
        self._view.headline("the north warehouse is fixed: its dead letters go out again")
        self._supplier.change(rules=demo_orders.SUPPLIER_RULES)
        selection = Selection(state=DeadLetterState.OPEN, reason=DeadLetterReason.ATTEMPTS_EXHAUSTED)
        jobs = ReplayJobs(
            letters=self._letters,
            jobs=MongoReplayJobs(self._store),
            items=MongoReplayItems(self._store),
            audit=Audit(MongoAuditLog(self._store)),
        )
        options = ReplayOptions(canary=1, start_rate=5.0, rate=20.0)
        job = await jobs.start(selection, options, by="demo", why="the north warehouse is fixed")
        deadline = time.monotonic() + _PHASE_TIMEOUT
        while not (progress := await jobs.progress(job.id)).job.is_over and time.monotonic() < deadline:
            await self._show()
            await asyncio.sleep(0.25)
        resolved, total = progress.tally.of(ItemState.RESOLVED), progress.job.total
        self._view.say(f"replay job {job.id} is {progress.job.state}: {resolved} of {total} dead letters resolved")

    async def _publish_watched(self, orders: Sequence[DemoOrder], *, pause: float = 0.0) -> None:
        with self._view.watching():
            for start in range(0, len(orders), 25):
                chunk = orders[start : start + 25]
                for order in chunk:
                    await self._publish(order)
                    await asyncio.sleep(pause)
                await self._show()

    async def _publish(self, order: DemoOrder) -> None:
        await self._publisher.publish(
            exchange=ORDERS_EXCHANGE, routing_key=PLACED_KEY, body=order.body, headers={"trace_id": order.name}
        )
        self._published.append(order)

    async def _settled(self) -> Books:
        """Watch until every order is shipped or an open dead letter; return the books then, or at the deadline."""
        return await self._watch(until=time.monotonic() + _PHASE_TIMEOUT, stop_when_settled=True)

    async def _watch(self, *, until: float, stop_when_settled: bool = False) -> Books:
        with self._view.watching():
            while True:
                books = await self._show()
                if time.monotonic() >= until or (stop_when_settled and not books.waiting):
                    return books
                await asyncio.sleep(0.25)

    async def _show(self) -> Books:
        books = await take_stock(self._published, shipments=self._shipments, dead_letters=self._letters)
        circuits = {str(report["circuit"]) for report in await self._workers.all() if not report.get("stopped")}
        self._view.progress(books, published=len(self._published), circuit="/".join(sorted(circuits)) or "?")
        return books

    def _check(self, books: Books, *, nothing_north: bool = False) -> None:
        if books.waiting:
            raise DemoError(f"{books.waiting} orders are unaccounted for: see the worker's log")
        if nothing_north and books.places[Kind.NORTH]["shipped"] != books.places[Kind.NORTH].total():
            raise DemoError("replayed orders did not ship: see the worker's log")

    def _show_supplier(self) -> None:
        stats = self._supplier.stats()
        self._view.say(
            f"the supplier's own count: {stats['requests']} requests, {stats['dispatches']} dispatches, "
            f"{stats['double_dispatches']} double dispatches"
        )
        if stats["double_dispatches"]:
            raise DemoError("an order was dispatched twice")
