"""What a broker does not show is not missing: RabbitMQ 4.3 hides what a user has no permission for."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from infra.rabbitmq import depths, topology_check
from infra.rabbitmq.depths import QueueDepths, QueueLook
from infra.rabbitmq.topology import Topology
from infra.rabbitmq.topology_check import Difference, differences, missing
from worker.domain.errors import BrokerUnavailableError, NotPermittedError

HIDDEN = ChannelAccessRefused("ACCESS_REFUSED - configure access to queue 'orders.work' in vhost '/' refused")
GONE = ChannelNotFoundEntity("NOT_FOUND - no queue 'orders.dlq' in vhost '/'")
DOWN = ChannelNotFoundEntity("NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible")


class Broker:
    """Answers whoever looks at one of these with an error."""

    is_closed = False

    def __init__(self, errors: Mapping[str, Exception]) -> None:
        self._errors = errors
        self.transport = SimpleNamespace(connection=self)

    async def connect(self, *_: object, **__: object) -> "Broker":
        return self

    async def channel(self, **_: object) -> "Broker":
        return self

    async def close(self) -> None:
        pass

    async def queue_declare(self, name: str, *_: object, **__: object) -> Any:
        if name in self._errors:
            raise self._errors[name]
        return SimpleNamespace(message_count=3, consumer_count=1)

    exchange_declare = queue_declare


async def test_only_a_queue_that_does_not_exist_is_told_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker({"orders.work": HIDDEN, "orders.dlq": GONE, "q": DOWN})
    monkeypatch.setattr(depths, "connect", broker.connect)
    ours = QueueDepths("amqp://nowhere", name="test")
    assert await ours.look(["orders.dlq", "other"]) == {"orders.dlq": None, "other": QueueLook(ready=3, consumers=1)}
    with pytest.raises(NotPermittedError, match=r"does not permit the user .* queue 'orders\.work'"):
        await ours.look(["orders.work"])
    with pytest.raises(BrokerUnavailableError, match="is down or inaccessible"):
        await ours.look(["q"])


async def test_what_is_missing_is_told_as_far_as_the_user_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology_check, "connect", Broker({"orders.retry": HIDDEN, "orders.dlq": GONE}).connect)
    assert await missing(Topology(), "amqp://nowhere") == [Difference("orders.dlq", "is missing")]
    with pytest.raises(NotPermittedError):
        await differences(Topology(), "amqp://nowhere")


async def test_a_queue_whose_node_is_down_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology_check, "connect", Broker({"orders.work": DOWN}).connect)
    with pytest.raises(BrokerUnavailableError, match="is down or inaccessible"):
        await differences(Topology(), "amqp://nowhere")
