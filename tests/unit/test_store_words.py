"""What is said of a store that cannot be reached: the driver's words, where they help."""

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from infra.mongodb.store import as_unavailable

SETTINGS = ", Timeout: 4.0s, Topology Description: <TopologyDescription id: 1, servers: []>"


@pytest.mark.parametrize(
    ("driver", "told"),
    [
        ("No replica set members found yet", "nothing was heard of it in time"),
        ("No servers found yet", "nothing was heard of it in time"),
        ("127.0.0.1:1: timed out (configured timeouts: connectTimeoutMS: 4000.0ms)", "127.0.0.1:1: timed out"),
    ],
    ids=["a replica set that says nothing", "a server that says nothing", "a server that hangs"],
)
def test_a_server_that_was_never_heard_of_is_not_told_as_a_fault_of_the_replica_set(driver: str, told: str) -> None:
    assert str(as_unavailable(ServerSelectionTimeoutError(driver + SETTINGS))) == f"MongoDB does not answer: {told}"
