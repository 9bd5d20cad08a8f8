"""Gathered acks remember what is in hand, not what has been."""

import asyncio
import tracemalloc
from dataclasses import dataclass
from typing import cast

from aiormq.abc import DeliveredMessage

from infra.rabbitmq.gathered_acks import GatheredAcks, Word
from tests.support.fake_broker import FakeChannel


@dataclass(frozen=True)
class Message:
    channel: FakeChannel
    delivery_tag: int


async def test_a_delivery_that_is_held_for_long_costs_no_memory_for_those_that_go_past_it() -> None:
    acks, channel = GatheredAcks(wait_for_gaps=False), FakeChannel()
    tracemalloc.start()
    try:
        await _settle(acks, channel, range(2, 1_000))
        before = tracemalloc.get_traced_memory()[0]
        await _settle(acks, channel, range(1_000, 20_000))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 19_000, "bytes; less than one for each delivery"


async def _settle(acks: GatheredAcks, channel: FakeChannel, tags: range) -> None:
    for first in range(tags.start, tags.stop, 100):
        some = range(first, min(first + 100, tags.stop))
        channel.in_hand.update(some)
        await asyncio.gather(*(acks.settle(cast("DeliveredMessage", Message(channel, tag)), Word.ACK) for tag in some))
        assert not channel.in_hand
        channel.told.clear()
