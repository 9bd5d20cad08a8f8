"""Messages that a queue keeps for nobody, after nodes of the broker died.

Two faults of RabbitMQ's quorum queues are known: what was handed out to a consumer that died with its node may stay
unacknowledged (rabbitmq-server #15473), and what is due in a delay queue may not be forwarded (as in #7677). The
operator's remedy is another leader for the queue. Whatever one of our workers holds or does not take is our own fault.
"""

from collections.abc import Callable, Collection, Mapping

from infra.rabbitmq.topology import RETRY_EXCHANGE, SHIPMENTS_RETRY_EXCHANGE
from tests.chaos.cluster import Cluster, Depth

_DELAYED = (f"{RETRY_EXCHANGE}.", f"{SHIPMENTS_RETRY_EXCHANGE}.")


def why_ours(waiting: Mapping[str, Depth], *, in_hand: int) -> str | None:
    """Return why stuck messages are a fault of ours, None when they are kept for nobody.

    `in_hand`: the deliveries that living channels hold. No consumer of ours has to do with a delay queue.
    """
    ready = [name for name, depth in waiting.items() if depth.ready and not name.startswith(_DELAYED)]
    if ready:
        return f"no worker takes what is ready in {', '.join(ready)}"
    return f"a worker holds {in_hand} deliveries and does not settle them" if in_hand else None


def free(
    cluster: Cluster, waiting: Mapping[str, Depth], freed_before: Collection[str], say: Callable[[str], None]
) -> set[str]:
    """Give the stuck queues another leader; return their names. Raises AssertionError where that is not the remedy."""
    in_hand = cluster.in_hand()
    story = f"stuck: {dict(waiting)}, in hand of living channels: {in_hand}\n{cluster.consumers()}"
    say(story)
    ours = why_ours(waiting, in_hand=in_hand)
    assert ours is None, f"{ours}\n{story}"
    again = waiting.keys() & set(freed_before)
    assert not again, f"another leader did not free {', '.join(sorted(again))}\n{story}"
    for queue in waiting:
        say(f"{queue} gets another leader: {cluster.move_leader(queue)} restarts")
    return set(waiting)
