"""The simulated supplier itself: its state, and `POST /dispatches`."""

import asyncio
import time
from random import Random

from aiohttp import web

from infra.supplier import simulator_wire as wire
from infra.supplier.simulator_behaviour import Behaviour, Decision, Fate, decide, dice
from infra.supplier.simulator_contract import ContractBreach, DispatchOrder, read_order
from infra.supplier.simulator_ledger import Dispatch, Entry, Ledger, Record
from infra.supplier.simulator_replies import breach_reply, reply_to, retry_after

_Entry = tuple[Entry, Dispatch]
_BROKEN = (Fate.TIMEOUT, Fate.RESET, Fate.CUT)


class SimulatedSupplier:
    """A supplier whose behaviour can be changed between any two requests.

    An order is judged, and dispatched, when its request has arrived whole; latency comes after that and before the
    answer. So a client that gives up while waiting does not undo a dispatch: it just never learns of it.
    """

    def __init__(self, behaviour: Behaviour, *, keep_requests: int) -> None:
        self.behaviour = behaviour
        self.stopping = asyncio.Event()
        self._keep_requests = keep_requests
        self._unseeded = Random()  # noqa: S311  chance, not secrecy
        self.ledger = Ledger(keep_requests)

    def reset(self) -> None:
        """Forget every count, key and dispatch; requests still in flight are not counted any more."""
        self.ledger = Ledger(self._keep_requests)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`POST /dispatches`: the one endpoint of the contract."""
        ledger = self.ledger  # a reset meanwhile starts another
        record = ledger.arrive(request.headers)
        try:
            try:
                order = read_order(request.headers, await _read(request))
            except ContractBreach as breach:
                ledger.breach(str(breach))
                ledger.answered(record, "400")
                return wire.whole(breach_reply(str(breach)))
            decision, entry = self._judge(ledger, record, order)
            if decision.delay:
                await asyncio.sleep(decision.delay)
            return await self._answer(request, ledger, record, decision, entry)
        finally:
            ledger.leave(record)

    def _judge(self, ledger: Ledger, record: Record, order: DispatchOrder) -> tuple[Decision, _Entry | None]:
        behaviour, key = self.behaviour, order.shipment_id
        number = ledger.identify(record, order)
        decision = decide(
            behaviour,
            order.order_id,
            request_number=number,
            already_dispatched=behaviour.honour_idempotency and ledger.has_dispatched(key),
            random=dice(behaviour, key, number, self._unseeded),
        )
        entry = None
        if decision.dispatches:
            entry = ledger.dispatch(order, honour_idempotency=behaviour.honour_idempotency)
        return decision, entry

    async def _answer(
        self, request: web.Request, ledger: Ledger, record: Record, decision: Decision, entry: _Entry | None
    ) -> web.StreamResponse:
        fate = decision.fate
        if fate in _BROKEN:
            ledger.answered(record, fate.value)
        if fate is Fate.TIMEOUT:
            return await wire.never(request, self.stopping)
        if fate is Fate.RESET:
            return wire.reset(request)
        reply = reply_to(decision, entry)
        if fate is Fate.CUT:
            return await wire.cut(request, reply)
        ledger.answered(record, str(reply.status))
        return wire.whole(reply, retry_after(self.behaviour, reply.status, time.time()))


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise ContractBreach("the body is far too large") from error
