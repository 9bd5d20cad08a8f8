"""The consumer of `shipments.delivered`: a delivery notice in, an outcome out."""

from dataclasses import replace

from consumers.outcome_log import log_outcome
from consumers.waiting import await_its_time
from worker.domain.core import utc_now
from worker.domain.delivery import Delivery, MessageState, to_milliseconds
from worker.domain.delivery_core import DeliveryCore, NoticeResult
from worker.domain.delivery_notice import NOTICE_EXCHANGE, NOTICE_KEY, DeliveryNotice, parse_notice
from worker.domain.errors import MalformedNoticeError
from worker.domain.log import StructuredLogger, log_fields_ctx
from worker.domain.outcome import Ack, DeadLetter, Outcome
from worker.domain.retry import RetryPolicy
from worker.domain.shipment import Shipment, shipment_id_for
from worker.domain.trace import TraceContext, gives_trace, trace_scope

_log = StructuredLogger("logistics.delivered")


class DeliveredConsumer:
    """Parses a delivery notice, has the core process it, and dresses the outcome with the headers that go out."""

    def __init__(self, *, core: DeliveryCore, policy: RetryPolicy, max_body_bytes: int) -> None:
        self._core = core
        self._policy = policy
        self._max_body_bytes = max_body_bytes

    async def handle(self, delivery: Delivery) -> Outcome:
        """Decide what becomes of one delivery. Never raises but for cancellation."""
        notice = self._parse(delivery.body)
        state = _read(delivery, notice)
        with trace_scope(state.trace.trace_id, state.trace):
            _set_fields(notice, state, None)
            if state.ignored:
                _log.warning("headers.ignored", names=list(state.ignored))
            result = await self._decide(notice, state)
        given = gives_trace(delivery.headers)
        if result.shipment is not None and not given:
            state = replace(state, trace=_trace_of(result.shipment))
        with trace_scope(state.trace.trace_id, state.trace):
            _set_fields(notice, state, result.shipment)
            log_outcome(_log, "notice", result.outcome)
        return _dressed(result, state, notice, delivery.body, keep_trace=given or result.shipment is not None)

    def _parse(self, body: bytes) -> DeliveryNotice | MalformedNoticeError:
        try:
            return parse_notice(body, max_bytes=self._max_body_bytes)
        except MalformedNoticeError as error:
            return error

    async def _decide(self, notice: DeliveryNotice | MalformedNoticeError, state: MessageState) -> NoticeResult:
        if isinstance(notice, MalformedNoticeError):
            return await self._core.refuse(notice, state)
        put_off = await await_its_time(state, self._policy)
        return NoticeResult(put_off) if put_off is not None else await self._core.process_notice(notice, state)


def _read(delivery: Delivery, notice: DeliveryNotice | MalformedNoticeError) -> MessageState:
    """Return what the headers say. What is in this queue is a notice, wherever it came from: so its dead letter says.

    (Headers copied from an order would call it one.)
    """
    state = MessageState.read(delivery, order_id=notice.order_id)
    return replace(state, origin_exchange=NOTICE_EXCHANGE, origin_routing_key=NOTICE_KEY)


def _trace_of(shipment: Shipment) -> TraceContext:
    return TraceContext.from_headers({"trace_id": shipment.trace_id}, seed=shipment.order_id)


def _set_fields(notice: DeliveryNotice | MalformedNoticeError, state: MessageState, shipment: Shipment | None) -> None:
    order_id = notice.order_id if shipment is None else shipment.order_id
    log_fields_ctx.set(
        {
            "trace_id": state.trace.trace_id,  # settlement's lines come after the scope
            "order_id": order_id,
            "shipment_id": notice.shipment_id if order_id is None else shipment_id_for(order_id),
            "attempt": state.attempt + 1,
        }
    )


def _dressed(
    result: NoticeResult,
    state: MessageState,
    notice: DeliveryNotice | MalformedNoticeError,
    body: bytes,
    *,
    keep_trace: bool,
) -> Outcome:
    """Return the outcome with its headers; a trace that was made up is left out while the shipment's may be found."""
    outcome = result.outcome
    if isinstance(outcome, Ack):
        return outcome
    headers = state.headers_after(
        outcome, now=to_milliseconds(utc_now()), body=body, order_id=notice.order_id, is_notice=True
    )
    if not keep_trace and not isinstance(outcome, DeadLetter):
        del headers["trace_id"], headers["traceparent"]
    return replace(outcome, headers=headers)
