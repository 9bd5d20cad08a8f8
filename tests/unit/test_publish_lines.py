"""Publishing lines, against a publisher in memory."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from infra.rabbitmq.order_publisher import OrderMessage, PublishedOrder
from worker.domain.errors import BrokerUnavailableError, MalformedOrderError, PublishError
from worker.domain.order import parse_order
from worker.domain.trace import TraceContext
from worker.line_source import OverlongLine
from worker.publishing import Progress, Summary, publish_lines


class FakeOrderPublisher:
    """`IOrderPublisher` in memory: checks as the real one does, and confirms when it is let."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.begun = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.may_confirm = asyncio.Event()
        self.may_confirm.set()
        self.refuse: Callable[[str], Exception | None] = lambda _: None
        """Returns what to raise instead of confirming an order."""

    def prepare(self, body: bytes) -> OrderMessage:
        order_id = parse_order(body).order_id
        return OrderMessage(order_id, body, TraceContext.from_headers({}, seed=order_id))

    async def send(self, order: OrderMessage) -> PublishedOrder:
        self.begun += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            # A hundred different numbers of turns, so that the confirms come out of order.
            for _ in range(1 + int(order.order_id) * 7 % 100):
                await asyncio.sleep(0)
            await self.may_confirm.wait()
            error = self.refuse(order.order_id)
            if error is not None:
                raise error
        finally:
            self.in_flight -= 1
        self.sent.append(order.body)
        return PublishedOrder(order.order_id, "message", order.trace.trace_id, order.trace.traceparent)


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.refused: list[tuple[int, str]] = []
        self.progress: Progress | None = None
        self.calls = 0

    def on_refused(self, number: int, error: MalformedOrderError) -> None:
        self.refused.append((number, str(error)))

    def on_progress(self, progress: Progress) -> None:
        self.progress = progress
        self.calls += 1


@pytest.fixture
def publisher() -> FakeOrderPublisher:
    return FakeOrderPublisher()


@pytest.fixture
def listener() -> Listener:
    return Listener()


def line(number: int) -> bytes:
    return b'{"order_id": "%d", "destination": "Oslo"}' % number


async def publish(
    lines: Iterable[bytes | OverlongLine], publisher: FakeOrderPublisher, listener: Listener, **options: Any
) -> Summary:
    return await publish_lines(
        lines, publisher, on_progress=listener.on_progress, on_refused=listener.on_refused, **options
    )


async def test_every_line_becomes_an_order_byte_for_byte(publisher: FakeOrderPublisher, listener: Listener) -> None:
    lines = [b' {"order_id":"1",  "destination":"\xc3\x98rsta", "b":1, "a":2}', line(2), line(3)]
    summary = await publish(lines, publisher, listener)
    assert sorted(publisher.sent) == sorted(lines)
    assert (summary.published, summary.refused, summary.stopped_by, summary.first_unsettled) == (3, 0, None, 4)
    assert summary.rate == pytest.approx(3 / summary.seconds)


async def test_no_lines_at_all_are_nothing_to_complain_about(publisher: FakeOrderPublisher, listener: Listener) -> None:
    summary = await publish([], publisher, listener)
    assert (summary.published, summary.refused, summary.first_unsettled) == (0, 0, 1)


async def test_empty_lines_are_skipped_but_counted(publisher: FakeOrderPublisher, listener: Listener) -> None:
    summary = await publish([b"", line(1), b"  ", b"\t\r", b"{}"], publisher, listener)
    assert (summary.published, summary.refused) == (1, 1)
    assert [number for number, _ in listener.refused] == [5]


async def test_refused_lines_are_told_in_order_and_the_rest_goes_on(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    lines = [line(number) if number % 10 else b'{"order_id": "%d"}' % number for number in range(1, 501)]
    summary = await publish(lines, publisher, listener, in_flight=20)
    assert listener.refused == [(number, "destination: Field required") for number in range(10, 501, 10)]
    assert (summary.published, summary.refused, summary.stopped_by) == (450, 50, None)


async def test_a_line_that_is_too_long_is_refused(publisher: FakeOrderPublisher, listener: Listener) -> None:
    summary = await publish([line(1), OverlongLine(1000), line(3)], publisher, listener)
    assert listener.refused == [(2, "the line is longer than 1000 bytes")]
    assert summary.published == 2


async def test_strict_sends_nothing_after_the_first_refused_line_and_lets_what_is_in_flight_finish(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    publisher.may_confirm.clear()
    lines = [*map(line, range(1, 6)), b"not an order", *map(line, range(7, 100)), b"neither"]
    running = asyncio.create_task(publish(lines, publisher, listener, strict=True))
    await until(lambda: listener.refused)
    assert publisher.sent == []
    publisher.may_confirm.set()
    summary = await running
    assert sorted(publisher.sent) == [line(number) for number in range(1, 6)]
    assert [number for number, _ in listener.refused] == [6]
    assert isinstance(summary.stopped_by, MalformedOrderError)
    assert (summary.published, summary.refused, summary.first_unsettled) == (5, 1, 6)


@pytest.mark.parametrize("in_flight", [1, 7, 200])
async def test_no_more_than_in_flight_orders_are_unconfirmed_at_once(
    publisher: FakeOrderPublisher, listener: Listener, in_flight: int
) -> None:
    summary = await publish(map(line, range(1, 2001)), publisher, listener, in_flight=in_flight)
    assert summary.published == 2000
    assert publisher.most_in_flight == in_flight


async def test_no_more_lines_are_read_than_can_be_in_flight_and_wait(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    read: list[int] = []

    def lines() -> Iterator[bytes]:
        for number in range(1, 10_001):
            read.append(number)
            yield line(number)

    publisher.may_confirm.clear()
    stop = asyncio.Event()
    running = asyncio.create_task(publish(lines(), publisher, listener, in_flight=10, stop=stop))
    await until(lambda: publisher.in_flight == 10)
    await asyncio.sleep(0.1)
    assert len(read) <= 10 + 10 + 2  # in flight, waiting, one in each hand
    stop.set()
    publisher.may_confirm.set()
    await running


async def test_a_slow_source_holds_up_neither_the_loop_nor_the_lines_that_are_there(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    go_on = threading.Event()

    def lines() -> Iterator[bytes]:
        yield line(1)
        assert go_on.wait(20)
        yield line(2)

    running = asyncio.create_task(publish(lines(), publisher, listener))
    await until(lambda: publisher.sent == [line(1)])
    go_on.set()
    assert (await running).published == 2


async def test_a_publish_that_fails_for_good_stops_everything_and_names_the_first_unconfirmed_line(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    away = BrokerUnavailableError("gone")
    publisher.refuse = lambda order_id: away if int(order_id) >= 50 and int(order_id) != 53 else None
    summary = await publish(map(line, range(1, 100_000)), publisher, listener, in_flight=10)
    confirmed = {parse_order(body).order_id for body in publisher.sent}
    assert summary.stopped_by is away
    assert summary.first_unsettled == 50
    assert confirmed == {str(number) for number in range(1, 50)} | ({"53"} & confirmed)
    assert summary.published == len(confirmed)


async def test_after_a_publish_that_fails_for_good_no_other_is_begun(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    publisher.refuse = lambda _: BrokerUnavailableError("gone")
    publisher.may_confirm.clear()
    running = asyncio.create_task(publish(map(line, range(1, 1000)), publisher, listener, in_flight=10))
    await until(lambda: publisher.begun == 10)
    publisher.may_confirm.set()
    await running
    assert publisher.begun == 10


async def test_resuming_from_the_first_unconfirmed_line_publishes_the_rest(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    lines = [b"" if number % 9 == 0 else line(number) for number in range(1, 301)]
    publisher.refuse = lambda order_id: PublishError("full") if int(order_id) > 100 else None
    first = await publish(lines, publisher, listener, in_flight=10)
    publisher.refuse = lambda _: None
    second = await publish(lines, publisher, listener, in_flight=10, first_line=first.first_unsettled)
    assert set(publisher.sent) == set(lines) - {b""}
    assert second.stopped_by is None
    assert second.first_unsettled == 301


async def test_the_first_unconfirmed_line_is_right_at_every_moment(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    def check(progress: Progress) -> None:
        confirmed = {int(parse_order(body).order_id) for body in publisher.sent}
        first = progress.first_unsettled
        assert confirmed >= set(range(1, first))
        assert first not in confirmed
        assert progress.published == len(confirmed)

    await publish_lines(
        map(line, range(1, 300)), publisher, on_progress=check, on_refused=listener.on_refused, in_flight=30
    )


async def test_stop_takes_no_more_lines_even_from_a_source_that_is_stuck_and_finishes_what_is_in_flight(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    stuck = threading.Event()

    def lines() -> Iterator[bytes]:
        yield from map(line, range(1, 4))
        stuck.wait(20)

    publisher.may_confirm.clear()
    stop = asyncio.Event()
    running = asyncio.create_task(publish(lines(), publisher, listener, stop=stop))
    await until(lambda: publisher.in_flight == 3)
    stop.set()
    await asyncio.sleep(0.05)
    assert not running.done()
    publisher.may_confirm.set()
    summary = await running
    stuck.set()
    assert (summary.published, summary.first_unsettled, summary.stopped_by) == (3, 4, None)


async def test_cancelling_drops_what_is_in_flight_and_the_progress_still_tells_where_to_resume(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    publisher.may_confirm.clear()
    running = asyncio.create_task(publish(map(line, range(1, 1000)), publisher, listener, in_flight=5))
    await until(lambda: publisher.in_flight == 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert publisher.in_flight == 0
    assert listener.progress is not None
    assert listener.progress.summary().first_unsettled == 1


async def test_a_source_that_breaks_off_is_why_it_stopped(publisher: FakeOrderPublisher, listener: Listener) -> None:
    def lines() -> Iterator[bytes]:
        yield from map(line, range(1, 4))
        raise OSError(5, "Input/output error")

    summary = await publish(lines(), publisher, listener)
    assert isinstance(summary.stopped_by, OSError)
    assert (summary.published, summary.first_unsettled) == (3, 4)


async def test_a_fault_in_the_publisher_is_not_swallowed(publisher: FakeOrderPublisher, listener: Listener) -> None:
    publisher.refuse = lambda order_id: ZeroDivisionError() if order_id == "20" else None
    with pytest.raises(ExceptionGroup) as caught:
        await publish(map(line, range(1, 10_000)), publisher, listener, in_flight=10)
    assert caught.group_contains(ZeroDivisionError)
    assert publisher.in_flight == 0


async def test_progress_is_told_at_the_start_and_after_every_line(
    publisher: FakeOrderPublisher, listener: Listener
) -> None:
    await publish([line(1), b"x", line(3)], publisher, listener)
    assert listener.calls == 4


async def until(condition: Callable[[], object]) -> None:
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("not within 20 s")
