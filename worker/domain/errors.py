"""Every error the program raises on purpose.

LogisticsError
├── MalformedMessageError          the body is not what its queue carries          → dead letter at once
│   ├── MalformedOrderError        … no valid order
│   └── MalformedNoticeError       … no valid delivery notice
├── UnknownShipmentError           a delivery notice of a shipment we do not have  → dead letter at once
├── EarlyNoticeError               a delivery notice of what is not shipped yet    → defer, longer each time
├── SupplierError
│   ├── SupplierRejectedError      the supplier says no; asking again changes nothing → dead letter at once
│   ├── SupplierUnavailableError   the supplier says "not now" (429, 503)          → retry
│   └── SupplierOutcomeUnknownError  nobody knows whether it dispatched            → retry, same idempotency key
├── CircuitBreakerOpenException    we did not even ask                             → defer
├── StoreUnavailableError          the store does not answer                       → defer, stop taking messages
├── ShipmentAlreadySettledError    somebody else shipped it meanwhile              → duplicate
├── PublishError                   the broker did not confirm a publish
│   ├── UnroutableError            no queue is bound for that exchange and key
│   ├── MessageTooLargeError       the broker takes no message of that size        → a dead letter, without our note
│   └── BrokerUnavailableError     no connection, or no answer in time
│       └── BrokerRefusedError     … or none for this user and password
│           └── NotPermittedError  the broker does not let our user do that
├── NotFoundError                  nothing has that id
├── JobConflictError               a replay job is in the way, or in another state
├── ControlRefusedError            no worker can do what is wished                 → told to the operator
├── EditRefusedError               the edited dead letter cannot go out like this  → told to the operator
├── EditConflictError              the dead letter changed since it was read       → told to the operator
├── TopologyMismatchError          the broker's queues differ from ours
└── ConfigurationError             a setting is missing or wrong
"""


class LogisticsError(Exception):
    """Base of every error that is ours."""


class MalformedMessageError(LogisticsError):
    """The message body is not what its queue carries and never will be."""

    def __init__(self, message: str, *, order_id: str | None = None) -> None:
        super().__init__(message)
        self.order_id = order_id
        """The order id, where the body was readable enough to hold a valid one."""


class MalformedOrderError(MalformedMessageError):
    """The message body is not a valid order."""


class MalformedNoticeError(MalformedMessageError):
    """The message body is not a valid delivery notice."""

    def __init__(self, message: str, *, order_id: str | None = None, shipment_id: str | None = None) -> None:
        super().__init__(message, order_id=order_id)
        self.shipment_id = shipment_id
        """The shipment id, where the body was readable enough to hold a valid one."""


class UnknownShipmentError(LogisticsError):
    """There is no such shipment; a replay of the notice may find it later."""


class EarlyNoticeError(LogisticsError):
    """The shipment is not SHIPPED yet: the notice has overtaken the dispatch's own answer."""


class SupplierError(LogisticsError):
    """The supplier did not dispatch."""


class SupplierRejectedError(SupplierError):
    """The supplier's final no; its words are the message."""


class SupplierUnavailableError(SupplierError):
    """The supplier asks to be asked later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds the supplier asked us to wait, or None when it did not say."""


class SupplierOutcomeUnknownError(SupplierError):
    """The request may or may not have been carried out: time-out, reset, 5xx, a cut answer."""


class CircuitBreakerOpenException(LogisticsError):
    """The circuit is open: the call was refused without being made."""

    def __init__(self, retry_after: float, *, by_hand: str | None = None) -> None:
        super().__init__(by_hand or f"circuit open; next try possible in {retry_after:.1f} s")
        self.retry_after = retry_after
        """Seconds until the circuit may be tried; opened by hand: after which to look again."""
        self.is_by_hand = by_hand is not None
        """Whether an operator holds it open; `by_hand` says who, and why."""


class StoreUnavailableError(LogisticsError):
    """The store cannot be reached or did not answer in time; nothing is known about the write."""


class ShipmentAlreadySettledError(LogisticsError):
    """The stored shipment is SHIPPED or DELIVERED, and this save would have taken it back."""


class PublishError(LogisticsError):
    """A message was not confirmed by the broker; the caller still owns it."""


class UnroutableError(PublishError):
    """No queue is bound for this exchange and routing key."""


class MessageTooLargeError(PublishError):
    """The body is larger than the broker's `max_message_size`: 128 MiB by default before RabbitMQ 4, 16 MiB since."""


class BrokerUnavailableError(PublishError):
    """The broker cannot be reached or did not answer in time; a publish may or may not have arrived."""


class BrokerRefusedError(BrokerUnavailableError):
    """The broker does not let the user in; other credentials come with a restart at the latest."""


class NotPermittedError(BrokerRefusedError):
    """The broker does not let our user do that. Whoever else used the same channel gets this, too."""


class NotFoundError(LogisticsError):
    """What was asked for by an id is not there; the message says where to look."""


class JobConflictError(LogisticsError):
    """The replay job cannot do that now: another one is active, or it is in another state; the message says which."""


class ControlRefusedError(LogisticsError):
    """No worker can do what is wished of it; the message says what it can."""


class EditRefusedError(LogisticsError):
    """The edit cannot go out as it is; nothing was changed, and the message says what to do."""


class EditConflictError(LogisticsError):
    """Somebody or something else was faster: the dead letter is not what was edited any more; nothing was changed."""


class TopologyMismatchError(LogisticsError):
    """The broker has a queue or exchange of this name with other arguments."""


class ConfigurationError(LogisticsError):
    """A setting is missing or wrong; the message says which and what to do."""
