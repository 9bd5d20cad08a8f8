"""What a worker's start and its idling cost the processor: loosely, as this machine does other things, too."""

import asyncio

import pytest

from benchmarks.usage import cpu_seconds
from tests.support.system import System


@pytest.mark.cold
async def test_a_start_costs_little_and_an_idle_worker_next_to_nothing(system: System) -> None:
    worker = await system.start_worker()
    await system.publish_order("o-1")
    await system.shipped("o-1")
    started = cpu_seconds(worker.pid)
    await asyncio.sleep(6)
    idle = cpu_seconds(worker.pid) - started
    assert started < 3.0  # measured: 0.5 to 0.8 s to the first order
    assert idle < 0.05 * 6  # measured: under 1 % of a core; a loop that spins or polls takes much more
