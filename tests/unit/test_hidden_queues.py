"""A RabbitMQ that does not even let a user look: 4.3 does so with what the user has no permission for."""

from types import SimpleNamespace
from typing import Any

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from infra.rabbitmq import depths, topology
from infra.rabbitmq.depths import QueueDepths, QueueLook
from infra.rabbitmq.topology import Difference, Topology
from worker.domain.errors import NotPermittedError

REFUSED = ChannelAccessRefused("ACCESS_REFUSED - configure access to queue 'orders.work' in vhost '/' refused")


class Broker:
    """Lets a user look at everything but `hidden`, and has everything but `gone`."""

    transport = SimpleNamespace(connection=SimpleNamespace(is_closed=False))

    def __init__(self, *, hidden: str = "", gone: str = "") -> None:
        self._hidden, self._gone = hidden, gone

    async def connect(self, *_: object, **__: object) -> "Broker":
        return self

    async def channel(self) -> "Broker":
        return self

    async def close(self) -> None:
        pass

    async def declare_queue(self, name: str, *_: object, **__: object) -> Any:
        if name == self._hidden:
            raise REFUSED
        if name == self._gone:
            raise ChannelNotFoundEntity(f"NOT_FOUND - no queue '{name}' in vhost '/'")
        return SimpleNamespace(declaration_result=SimpleNamespace(message_count=3, consumer_count=1))

    declare_exchange = declare_queue


async def test_a_queue_that_the_user_may_not_see_is_told_as_that_and_not_as_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(depths, "connect", Broker(hidden="orders.work", gone="orders.dlq").connect)
    ours = QueueDepths("amqp://nowhere", name="test")
    assert await ours.look(["orders.dlq", "other"]) == {"orders.dlq": None, "other": QueueLook(ready=3, consumers=1)}
    with pytest.raises(NotPermittedError, match=r"does not permit the user .* queue 'orders\.work'"):
        await ours.look(["orders.work"])


async def test_what_is_missing_is_told_as_far_as_the_user_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "connect", Broker(hidden="orders.retry", gone="orders.dlq").connect)
    assert await Topology().missing("amqp://nowhere") == [Difference("orders.dlq", "is missing")]
    with pytest.raises(NotPermittedError):
        await Topology().verify("amqp://nowhere")
