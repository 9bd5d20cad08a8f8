"""The consumer of `orders.dlq`: files each dead letter in the store."""

from collections.abc import Callable

from worker.domain.delivery import Delivery
from worker.domain.errors import StoreUnavailableError
from worker.domain.filing import DeadLetterFiling
from worker.domain.log import StructuredLogger, log_fields_ctx
from worker.domain.outcome import Ack, Defer, Outcome
from worker.domain.shipment import shipment_id_for
from worker.domain.trace import trace_scope

_log = StructuredLogger("logistics.dead_letters")


class DeadLetterConsumer:
    """Files dead letters. What cannot be filed now stays in the queue: there is no queue behind this one."""

    def __init__(self, *, filing: DeadLetterFiling, on_filed: Callable[[str], None] = lambda _: None) -> None:
        """`on_filed`: told the reason of each dead letter that was filed."""
        self._filing = filing
        self._on_filed = on_filed

    async def handle(self, delivery: Delivery) -> Outcome:
        """Decide what becomes of one delivery. Never raises but for cancellation."""
        try:
            letter = await self._filing.file(delivery)
        except StoreUnavailableError as error:
            return Defer(queue="", error=error, not_before=0)
        except Exception as error:  # noqa: BLE001 - a dead letter is never dropped, whatever is wrong with it
            _log.error("dead_letter.not_filed", exc_info=error, message_id=delivery.message_id)
            return Defer(queue="", error=error, not_before=0)
        self._on_filed(letter.reason)
        with trace_scope(letter.trace_id):
            shipment_id = shipment_id_for(letter.order_id) if letter.order_id is not None else None
            log_fields_ctx.set(
                {
                    "trace_id": letter.trace_id,
                    "order_id": letter.order_id,
                    "shipment_id": shipment_id,
                    "attempt": len(letter.attempts),
                }
            )
            _log.info(
                "dead_letter.filed",
                dead_letter_id=letter.id,
                reason=letter.reason,
                state=str(letter.state),
                fingerprint=letter.fingerprint,
            )
        return Ack("filed")
