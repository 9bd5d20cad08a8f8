"""One message's way through the worker, from the bytes that arrive to the bytes that go out."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from infra.rabbitmq.header_values import encoded_table
from infra.rabbitmq.reading import read_delivery
from infra.rabbitmq.settlement import Settlement
from infra.rabbitmq.topology import DEAD_LETTER_EXCHANGE
from tests.support.fake_broker import FakeChannel, FakeExchanges, Published, Settled, on_the_wire, received
from tests.support.skipping_time import run
from worker.domain.delivery import Delivery, MessageState, is_foreign
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry

FRAME = 131_072
Handle = Callable[[Delivery], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of one message."""

    delivery: Delivery
    outcome: Outcome
    out: Published | None
    """What went out in its place."""

    @property
    def headers_out(self) -> Mapping[str, object]:
        """The headers the next reader of what went out gets to see."""
        return self.back().headers

    def back(self) -> Delivery:
        """Return what went out as the worker reads it when it comes back."""
        assert self.out is not None
        wire = on_the_wire(self.out.message)
        assert len(wire) <= FRAME
        return run(_read(wire, self.out))


async def _read(wire: bytes, out: Published) -> Delivery:
    to_dlq = out.exchange == DEAD_LETTER_EXCHANGE
    message = await received(
        wire,
        out.message.body,
        FakeChannel(),
        exchange=DEAD_LETTER_EXCHANGE if to_dlq else "",
        routing_key="" if to_dlq else "orders.work",
    )
    return read_delivery(message)


async def passed(handle: Handle, content_header: bytes, body: bytes, **how: Any) -> Passed:
    """Read a message from its bytes, have it handled, and settle what was decided."""
    channel, exchanges = FakeChannel(), FakeExchanges()
    message = await received(content_header, body, channel, **how)
    delivery = read_delivery(message)
    assert delivery.body == body
    outcome = await handle(delivery)
    settlement = Settlement(exchanges.publisher(), retry_exchange="retry", restore_topology=_never)
    await settlement.settle(message, outcome)
    assert channel.told == [Settled(1)]
    assert len(exchanges.taken) == (0 if isinstance(outcome, Ack) else 1)
    return Passed(delivery, outcome, exchanges.taken[0] if exchanges.taken else None)


async def _never() -> None:
    raise AssertionError("nothing was unroutable")


def check_what_goes_out(passed: Passed, state: MessageState) -> Mapping[str, object]:
    """Check what holds of every message that goes out in another's place; return its headers as they are read."""
    outcome, out = passed.outcome, passed.out
    assert isinstance(outcome, Retry | Defer | DeadLetter)
    assert out is not None
    assert out.message.body == passed.delivery.body
    if isinstance(outcome, DeadLetter):
        assert (out.exchange, out.routing_key) == (DEAD_LETTER_EXCHANGE, "")
    else:
        assert (out.exchange, out.routing_key) == ("retry", outcome.queue)
    headers = passed.headers_out
    for name, value in outcome.headers.items():
        if not is_foreign(name):
            assert headers[name] == value, f"{name} does not arrive as it was written"
    attempt, deferrals = cast("int", headers["attempt"]), cast("int", headers["deferrals"])
    assert state.attempt <= attempt <= state.attempt + 1
    assert state.deferrals <= deferrals <= state.deferrals + 1
    check_foreign_headers(passed.delivery.headers, headers)
    return headers


def check_foreign_headers(before: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Check that a publisher's headers are carried along, but for those that cannot be, and none appears."""
    foreign = {name: value for name, value in before.items() if is_foreign(name)}
    assert {name for name in after if is_foreign(name)} <= set(foreign)
    sizes = {name: size for name, value in foreign.items() if (size := _size(name, value)) is not None}
    room = 100_000
    for name in sorted(sizes, key=sizes.__getitem__):
        room -= sizes[name]
        if room > 0:
            assert name in after, f"{name} is lost"
            assert as_carried(after[name]) == as_carried(foreign[name])


def _size(name: str, value: object) -> int | None:
    """Return a header's size on the wire, None for what no broker lets through. All else that is read can be sent."""
    return len(encoded_table({name: value})) if _can_be_sent(value) else None


def _can_be_sent(value: object) -> bool:
    """Whether tables and lists are at most a hundred deep, counted without recursion, and all numbers finite."""
    depth, level = 0, [value]
    while level and depth <= 100:
        if any(isinstance(item, float) and not math.isfinite(item) for item in level):
            return False
        depth += 1
        level = [
            item
            for outer in level
            if isinstance(outer, list | dict)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return not level


def as_carried(value: Any) -> Any:
    """Return a header value as two of them compare: NaN like NaN, bytes like byte arrays, times to the millisecond."""
    match value:
        case float():
            return repr(value)
        case bytes() | bytearray():
            return bytes(value)
        case list():
            return [as_carried(item) for item in value]
        case dict():
            return {name: as_carried(item) for name, item in value.items()}
        case datetime():
            return round(value.timestamp() * 1000)
    return value


def has_message_id(delivery: Delivery) -> bool:
    """Whether a message has an id, of which another is made each time it is read otherwise."""
    first, second = (MessageState.read(delivery, order_id=None) for _ in range(2))
    return first.origin_message_id == second.origin_message_id
