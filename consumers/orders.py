"""The consumer of `orders.work`: a delivery in, an outcome out."""

from dataclasses import replace

from consumers.outcome_log import log_outcome
from consumers.waiting import await_its_time
from worker.domain.core import LogisticsCore, utc_now
from worker.domain.delivery import Delivery, MessageState, to_milliseconds
from worker.domain.errors import MalformedOrderError
from worker.domain.log import StructuredLogger, log_fields_ctx
from worker.domain.order import Order, parse_order
from worker.domain.outcome import Ack, Outcome
from worker.domain.retry import RetryPolicy
from worker.domain.shipment import shipment_id_for
from worker.domain.trace import trace_scope

_log = StructuredLogger("logistics.orders")


class OrderConsumer:
    """Parses an order, has the core process it, and dresses the outcome with the headers that go out."""

    def __init__(self, *, core: LogisticsCore, policy: RetryPolicy, max_body_bytes: int) -> None:
        self._core = core
        self._policy = policy
        self._max_body_bytes = max_body_bytes

    async def handle(self, delivery: Delivery) -> Outcome:
        """Decide what becomes of one delivery. Never raises but for cancellation."""
        order = self._parse(delivery.body)
        state = MessageState.read(delivery, order_id=order.order_id)
        with trace_scope(state.trace.trace_id, state.trace):
            log_fields_ctx.set(
                {
                    "trace_id": state.trace.trace_id,  # settlement's lines come after the scope
                    "order_id": order.order_id,
                    "shipment_id": shipment_id_for(order.order_id) if order.order_id is not None else None,
                    "attempt": state.attempt + 1,
                }
            )
            if state.ignored:
                _log.warning("headers.ignored", names=list(state.ignored))
            outcome = await self._decide(order, state)
            log_outcome(_log, "order", outcome)
            if isinstance(outcome, Ack):
                return outcome
            now = to_milliseconds(utc_now())
            headers = state.headers_after(outcome, now=now, body=delivery.body, order_id=order.order_id)
            return replace(outcome, headers=headers)

    def _parse(self, body: bytes) -> Order | MalformedOrderError:
        try:
            return parse_order(body, max_bytes=self._max_body_bytes)
        except MalformedOrderError as error:
            return error

    async def _decide(self, order: Order | MalformedOrderError, state: MessageState) -> Outcome:
        if isinstance(order, MalformedOrderError):
            return await self._core.refuse(order, state)
        return await await_its_time(state, self._policy) or await self._core.process_order(order, state)
