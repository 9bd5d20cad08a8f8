"""Cancelling whoever connects to RabbitMQ."""

import asyncio

import pytest

from infra.local.ports import LOOPBACK, free_ports
from infra.rabbitmq.connection import connect
from worker.domain.errors import BrokerUnavailableError


async def test_a_cancelled_connect_ends_as_cancelled_whenever_it_comes() -> None:
    nobody = f"amqp://user:password@{LOOPBACK}:{free_ports(1)[0]}/"
    cancelled = 0
    for turns in range(600):
        connecting = asyncio.create_task(connect(nobody, name="test"))
        for _ in range(turns % 40):
            await asyncio.sleep(0)
        if connecting.done():
            with pytest.raises(BrokerUnavailableError):
                await connecting
            continue
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        cancelled += 1
    assert cancelled > 100


async def test_a_time_out_around_connects_ends_them() -> None:
    nobody = f"amqp://user:password@{LOOPBACK}:{free_ports(1)[0]}/"

    async def try_for_ever() -> None:
        while True:
            with pytest.raises(BrokerUnavailableError):
                await connect(nobody, name="test")

    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await try_for_ever()
    assert asyncio.get_running_loop().time() - began < 10.0
