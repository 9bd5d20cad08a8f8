"""The consumer of `orders.work`: a delivery in, an outcome out."""

import asyncio
from dataclasses import replace

from worker.domain.core import LogisticsCore, utc_now
from worker.domain.delivery import Delivery, MessageState, to_milliseconds
from worker.domain.errors import MalformedOrderError
from worker.domain.log import StructuredLogger, log_fields_ctx
from worker.domain.order import Order, parse_order
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry
from worker.domain.retry import HOLD_LIMIT, RetryPolicy
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
        order, malformed = self._parse(delivery.body)
        order_id = order.order_id if order is not None else malformed.order_id if malformed is not None else None
        state = MessageState.read(delivery, order_id=order_id)
        with trace_scope(state.trace.trace_id, state.trace):
            log_fields_ctx.set(
                {
                    "trace_id": state.trace.trace_id,  # settlement's lines come after the scope
                    "order_id": order_id,
                    "shipment_id": shipment_id_for(order_id) if order_id is not None else None,
                    "attempt": state.attempt + 1,
                }
            )
            if state.ignored:
                _log.warning("headers.ignored", names=list(state.ignored))
            outcome = await self._decide(order, malformed, state)
            _log_outcome(outcome)
            return self._dressed(outcome, state, delivery, order_id)

    def _parse(self, body: bytes) -> tuple[Order | None, MalformedOrderError | None]:
        try:
            return parse_order(body, max_bytes=self._max_body_bytes), None
        except MalformedOrderError as error:
            return None, error

    async def _decide(self, order: Order | None, malformed: MalformedOrderError | None, state: MessageState) -> Outcome:
        if order is None:
            return self._core.decide(malformed or MalformedOrderError("not an order"), state)
        early = self._seconds_early(state)
        if early > HOLD_LIMIT:
            return self._policy.defer(None, seconds=early, now=to_milliseconds(utc_now()))
        if early > 0:
            await asyncio.sleep(early)
        return await self._core.process_order(order, state)

    def _seconds_early(self, state: MessageState) -> float:
        """Return for how long the message must not be tried yet; a time too far off to be ours counts as none."""
        if state.not_before is None:
            return 0.0
        early = (state.not_before - to_milliseconds(utc_now())) / 1000
        return early if early <= self._policy.max_age + HOLD_LIMIT else 0.0

    def _dressed(self, outcome: Outcome, state: MessageState, delivery: Delivery, order_id: str | None) -> Outcome:
        if isinstance(outcome, Ack):
            return outcome
        headers = state.headers_after(outcome, now=to_milliseconds(utc_now()), body=delivery.body, order_id=order_id)
        if isinstance(outcome, Defer) and outcome.error is None and state.not_before is not None:
            headers["not_before"] = state.not_before
        return replace(outcome, headers=headers)


def _log_outcome(outcome: Outcome) -> None:
    match outcome:
        case Ack(note=note):
            _log.info(f"order.{note}")
        case Retry(queue=queue, error=error):
            _log.warning("order.retry", delay=queue, error_type=type(error).__name__, error=str(error))
        case Defer(queue=queue, error=None):
            _log.debug("order.early", delay=queue)
        case Defer(queue=queue, error=error):
            _log.info("order.deferred", delay=queue, error_type=type(error).__name__, error=str(error))
        case DeadLetter(reason=reason, error=error):
            _log.error("order.dead_lettered", reason=str(reason), error_type=type(error).__name__, error=str(error))
