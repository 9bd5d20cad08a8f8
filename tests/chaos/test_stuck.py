"""What is kept for nobody is told from what a worker of ours does not take or does not settle."""

import pytest

from tests.chaos.cluster import Depth
from tests.chaos.stuck import why_ours


def test_what_only_a_dead_consumer_holds_is_kept_for_nobody() -> None:
    assert why_ours({"orders.work": Depth(ready=0, unacknowledged=39, messages=39)}, in_hand=0) is None


@pytest.mark.parametrize("depth", [Depth(ready=0, unacknowledged=0, messages=35), Depth(35, 0, 35)])
def test_what_a_delay_queue_does_not_forward_is_kept_for_nobody(depth: Depth) -> None:
    assert why_ours({"orders.retry.500ms": depth, "shipments.retry.1s": depth}, in_hand=0) is None


@pytest.mark.parametrize("queue", ["orders.work", "orders.dlq", "shipments.delivered"])
def test_what_no_worker_takes_is_our_fault(queue: str) -> None:
    why = why_ours({queue: Depth(ready=1, unacknowledged=39, messages=40)}, in_hand=0)
    assert why == f"no worker takes what is ready in {queue}"


def test_what_a_living_worker_does_not_settle_is_our_fault() -> None:
    why = why_ours({"orders.work": Depth(ready=0, unacknowledged=40, messages=40)}, in_hand=1)
    assert why == "a worker holds 1 deliveries and does not settle them"
