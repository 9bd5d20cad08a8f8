"""What to do about a broker whose queues differ from ours. In words: nothing here changes anything."""

from collections.abc import Iterable, Sequence

from infra.rabbitmq.topology import (
    DEAD_LETTER_QUEUE,
    DELIVERED_QUEUE,
    SHIPMENTS_RETRY_EXCHANGE,
    WORK_QUEUE,
    retry_queue,
)
from infra.rabbitmq.topology_check import Difference

MISSING = "is missing"

_EMPTYING = {
    WORK_QUEUE: "let it run empty (hold the publishers back, keep workers of the version that declared it running)",
    DELIVERED_QUEUE: "let it run empty (hold the supplier's notices back, keep workers of the version that declared it "
    "running)",
    DEAD_LETTER_QUEUE: "let it run empty (keep 'logistics worker --consumers dead-letters' of the version that "
    "declared it running until all is filed)",
}
_EMPTYING_A_DELAY = (
    "let it run empty (unless its dead-letter arguments differ, too, its messages return to {} when their time is up)"
)


def is_missing(difference: Difference) -> bool:
    """Return whether `logistics topology declare` puts it right."""
    return difference.problem == MISSING


def in_words(difference: Difference) -> str:
    """Return a difference as a sentence that names the thing once."""
    named = difference.name in difference.problem
    return difference.problem if named else f"{difference.name} {difference.problem}"


def remedy(difference: Difference, *, delays: Sequence[str], differing: Iterable[Difference]) -> str:
    """Return what to do about one difference.

    `delays`: the labels of LOGISTICS_RETRY_DELAYS. `differing`: every difference there is, to say which delays are
    left when those whose queues differ are given up.
    """
    if is_missing(difference):
        return "run 'logistics topology declare'; a worker that starts does the same"
    if difference.problem.startswith("exchange"):
        return (
            f"delete the exchange {difference.name} and run 'logistics topology declare' at once: "
            "publishing to it fails in between, but nothing is stored in an exchange"
        )
    steps = (
        f"{_emptying(difference.name)}, look with 'logistics status', delete it "
        f"('rabbitmqctl -p VHOST delete_queue {difference.name}', or the management page) and run 'logistics topology "
        "declare'. WARNING: messages that are still in it then are lost unless you move them first, with a shovel, say"
    )
    kept = _delays_that_fit(delays, differing)
    if not any(difference.name in _delay_queues(label) for label in delays) or not kept:
        return steps
    return f"{steps}. Or use only delays that are as the broker has them: LOGISTICS_RETRY_DELAYS={','.join(kept)}"


def _delays_that_fit(delays: Sequence[str], differing: Iterable[Difference]) -> list[str]:
    wrong = {difference.name for difference in differing if not is_missing(difference)}
    return [label for label in delays if not wrong.intersection(_delay_queues(label))]


def _delay_queues(label: str) -> tuple[str, str]:
    return retry_queue(label), retry_queue(label, exchange=SHIPMENTS_RETRY_EXCHANGE)


def _emptying(queue: str) -> str:
    returns_to = DELIVERED_QUEUE if queue.startswith(f"{SHIPMENTS_RETRY_EXCHANGE}.") else WORK_QUEUE
    return _EMPTYING.get(queue) or _EMPTYING_A_DELAY.format(returns_to)
