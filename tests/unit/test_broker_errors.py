"""The client's errors, as the rest of the program gets to see them."""

import asyncio

import pytest
from aio_pika.exceptions import AMQPConnectionError, ChannelInvalidStateError

from infra.rabbitmq.connection import broker_errors
from worker.domain.errors import BrokerUnavailableError


@pytest.mark.parametrize(
    "error",
    [
        AMQPConnectionError("gone"),
        ChannelInvalidStateError("closed"),
        ConnectionResetError("reset"),
        TimeoutError(),
        RuntimeError("closed"),
        Exception(),  # what the client says to whoever waits when a connection ends without a reason
        asyncio.CancelledError(),  # what it does to whoever waits when heartbeats were missed
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_the_client_says_of_a_lost_broker_means_unavailable(error: BaseException) -> None:
    with pytest.raises(BrokerUnavailableError) as raised, broker_errors():
        raise error
    assert raised.value.__cause__ is error


async def test_an_error_that_is_not_the_brokers_passes() -> None:
    with pytest.raises(KeyError), broker_errors():
        raise KeyError("ours")


async def test_a_cancellation_of_ours_stays_one_whatever_the_client_makes_of_it() -> None:
    async def publish() -> None:
        with broker_errors():
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise RuntimeError("closed") from None

    task = asyncio.create_task(publish())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
