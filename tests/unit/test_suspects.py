"""Suspects: what came back again and again is handled few at a time, in an order drawn by lot."""

import asyncio
import random

import pytest

from tests.support.system import eventually
from worker.domain.delivery import Delivery
from worker.suspects import SUSPECT_FROM, Suspects


def returned(count: object, *, redelivered: bool = True, body: bytes = b"") -> Delivery:
    return Delivery(body, {"x-delivery-count": count}, redelivered=redelivered)


class Room:
    """Deliveries under way."""

    def __init__(self) -> None:
        self.suspects = Suspects(gathering=0.01)
        self.in_hand = 0
        self.most_in_hand = 0
        self.order: list[bytes] = []

    async def handle(self, delivery: Delivery) -> None:
        async with self.suspects.turn(delivery):
            self.order.append(delivery.body)
            self.in_hand += 1
            self.most_in_hand = max(self.most_in_hand, self.in_hand)
            await asyncio.sleep(0.001)
            self.in_hand -= 1


@pytest.mark.parametrize(("times", "at_once"), [(3, 10), (4, 5), (5, 2), (6, 1), (19, 1)])
async def test_the_more_often_they_came_back_the_fewer_are_handled_at_once_and_all_of_them_are(
    times: int, at_once: int
) -> None:
    room = Room()
    await asyncio.gather(*(room.handle(returned(times)) for _ in range(40)))
    assert len(room.order) == 40
    assert room.most_in_hand == at_once


async def test_one_that_came_back_more_often_makes_the_others_as_careful() -> None:
    room = Room()
    await asyncio.gather(*(room.handle(returned(times)) for times in (8, *[SUSPECT_FROM] * 39)))
    assert len(room.order) == 40
    assert room.most_in_hand <= 10  # which is a quarter, as soon as the one is done with


@pytest.mark.parametrize("neighbours", [20, 1000])
def test_a_poison_that_kills_at_once_takes_hardly_any_neighbour_along(neighbours: int) -> None:
    """The broker gives up after 20 deliveries; each kill brings back what was not done with yet."""
    random.seed(7)

    async def lives(left: int) -> int:
        for times in range(SUSPECT_FROM, 20):
            left -= await one_life(left, times)
        return left

    async def one_life(left: int, times: int) -> int:
        suspects, killed, done = Suspects(gathering=0), asyncio.Event(), 0

        async def neighbour() -> None:
            nonlocal done
            async with suspects.turn(returned(times)):
                await asyncio.sleep(0)
                done += not killed.is_set()

        async def poison() -> None:
            async with suspects.turn(returned(times)):
                killed.set()

        tasks = [asyncio.create_task(work()) for work in (poison, *[neighbour] * left)]
        await killed.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return done

    assert sum(asyncio.run(lives(neighbours)) for _ in range(5)) <= 2


async def test_the_order_is_drawn_by_lot_as_the_poison_comes_first_otherwise() -> None:
    bodies = [b"%d" % number for number in range(30)]
    room = Room()
    await asyncio.gather(*(room.handle(returned(SUSPECT_FROM, body=body)) for body in bodies))
    assert sorted(room.order) == sorted(bodies)
    assert room.order != bodies


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(b""),
        returned(SUSPECT_FROM - 1),
        returned("many"),
        returned(None),
        returned(SUSPECT_FROM, redelivered=False),  # the publisher's own header, not the broker's
    ],
)
async def test_others_do_not_wait(delivery: Delivery) -> None:
    room = Room()
    await asyncio.gather(*(room.handle(delivery) for _ in range(20)))
    assert room.most_in_hand == 20


async def test_one_that_is_given_up_while_it_waits_or_in_its_turn_keeps_nobody_waiting() -> None:
    room = Room()
    tasks = [asyncio.create_task(room.handle(returned(SUSPECT_FROM))) for _ in range(10)]
    tasks[0].cancel()
    await eventually(lambda: room.order, every=0.001)
    for task in tasks[1:6]:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=5)
    await asyncio.wait_for(room.handle(returned(SUSPECT_FROM)), timeout=5)
