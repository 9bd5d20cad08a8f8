"""What is known of this moment alone: as if the servers that do not answer had never been asked."""

from dataclasses import replace

import pytest

from infra.rabbitmq.depths import QueueLook
from tests.unit.test_overview import NOW, a_report, overview, the_looks, the_store
from worker.known_now import known_now
from worker.overview_picture import unreachable

WAITING = the_looks(work=QueueLook(ready=3, consumers=1))
STORE = the_store(a_report(waiting_since=NOW))


@pytest.mark.parametrize("looks", [WAITING, the_looks()])
@pytest.mark.parametrize(
    "away", [{}, {"RabbitMQ": "gone"}, {"MongoDB": "gone"}, {"RabbitMQ": "gone", "MongoDB": "off"}]
)
def test_what_was_last_known_of_a_server_that_is_away_is_left_out(
    looks: dict[str, QueueLook], away: dict[str, str]
) -> None:
    why = {server: unreachable(server, said) for server, said in away.items()}
    last_known = replace(overview(looks, STORE), unreachable=why)
    assert known_now(last_known) == overview(away.get("RabbitMQ", looks), away.get("MongoDB", STORE))
