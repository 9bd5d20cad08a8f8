"""A RabbitMQ that is too old is refused in words: its delay queues would never give a message back."""

from types import SimpleNamespace
from typing import Any

import pytest

from infra.rabbitmq.topology import refuse_old_broker
from worker.domain.errors import TopologyMismatchError


def _connection(version: str) -> Any:
    underlay = SimpleNamespace(server_properties={"version": version})
    return SimpleNamespace(transport=SimpleNamespace(connection=underlay))


@pytest.mark.parametrize("version", ["3.9.27", "3.8.0", "2.12.1"])
def test_a_broker_before_3_10_is_refused(version: str) -> None:
    with pytest.raises(TopologyMismatchError, match=f"RabbitMQ {version} is too old"):
        refuse_old_broker(_connection(version))


@pytest.mark.parametrize("version", ["3.10.0", "3.10.8", "3.13.7", "4.0.1", "4.3.6", "unheard-of"])
def test_a_broker_from_3_10_on_is_taken(version: str) -> None:
    refuse_old_broker(_connection(version))
