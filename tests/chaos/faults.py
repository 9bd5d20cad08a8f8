"""The faults: each strikes one part of the world, lasts for a while, and is healed."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from random import Random

from infra.local.errors import LocalServerError
from infra.rabbitmq.topology import DELIVERED_QUEUE
from infra.supplier.simulator_behaviour import Behaviour
from tests.chaos.cluster import ClusterNode, start_again
from tests.chaos.replica_set import Member
from tests.chaos.wire import Wire
from tests.chaos.world import CALM, World

Fault = Callable[[World, Random], AbstractAsyncContextManager[None]]
"""Strikes on the way in, heals on the way out. The random numbers say whom it strikes."""


@asynccontextmanager
async def worker_killed(world: World, random: Random) -> AsyncIterator[None]:
    random.choice(world.workers).send(signal.SIGKILL)
    yield


@asynccontextmanager
async def worker_terminated(world: World, random: Random) -> AsyncIterator[None]:
    random.choice(world.workers).send(signal.SIGTERM)
    yield


@asynccontextmanager
async def worker_clock_off(world: World, random: Random) -> AsyncIterator[None]:
    """A worker is started again, and its clock is off by up to two hours."""
    worker = random.choice(world.workers)
    worker.shift_clock(random.choice((-7200, -600, 600, 7200)))
    worker.send(signal.SIGTERM)
    yield
    worker.send(signal.SIGTERM)


@asynccontextmanager
async def node_killed(world: World, random: Random) -> AsyncIterator[None]:
    async with _killed(random.choice(world.cluster.nodes)):
        yield


@asynccontextmanager
async def leader_killed(world: World, random: Random) -> AsyncIterator[None]:
    """The node dies that leads the queue of the orders."""
    leader = await asyncio.to_thread(world.cluster.leader_of, "orders.work")
    async with _killed(leader or random.choice(world.cluster.nodes)):
        yield


@asynccontextmanager
async def all_nodes_killed(world: World, random: Random) -> AsyncIterator[None]:
    del random
    for node in world.cluster.nodes:
        await asyncio.to_thread(node.kill)
    yield
    await asyncio.gather(*(asyncio.to_thread(start_again, node) for node in world.cluster.nodes))


@asynccontextmanager
async def memory_alarm(world: World, random: Random) -> AsyncIterator[None]:
    """The broker blocks whoever publishes."""
    node = random.choice(world.cluster.nodes)
    await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "absolute", "1")
    yield
    await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.4")


@asynccontextmanager
async def consumer_timeout(world: World, random: Random) -> AsyncIterator[None]:
    """The broker closes the channel of whoever holds a delivery for longer than a second; the supplier is slow."""
    del random
    await _evaluate(world, "application:set_env(rabbit, consumer_timeout, 1000).")
    world.supplier.behaviour = Behaviour(latency=1.8)
    yield
    world.supplier.behaviour = CALM
    await _evaluate(world, "application:set_env(rabbit, consumer_timeout, 1800000).")


@asynccontextmanager
async def connections_closed(world: World, random: Random) -> AsyncIterator[None]:
    """An operator closes every connection at the broker."""
    del random
    node = world.cluster.any_node()
    await asyncio.to_thread(node.ctl, "close_all_connections", "maintenance")
    yield


@asynccontextmanager
async def consumers_cancelled(world: World, random: Random) -> AsyncIterator[None]:
    """A queue is deleted, which cancels its consumers: one that holds nothing, for this is no fault but a loss."""
    del random
    with suppress(LocalServerError):  # deleted a moment ago, and not declared again yet
        await asyncio.to_thread(world.cluster.any_node().ctl, "delete_queue", DELIVERED_QUEUE)
    yield


@asynccontextmanager
async def broker_cut(world: World, random: Random) -> AsyncIterator[None]:
    world.to_broker.cut(_one_or_all(world, random))
    yield


@asynccontextmanager
async def broker_silent(world: World, random: Random) -> AsyncIterator[None]:
    async with _silent([world.to_broker], _one_or_all(world, random)):
        yield


@asynccontextmanager
async def store_cut(world: World, random: Random) -> AsyncIterator[None]:
    owner = random.choice(world.workers).pid  # never all: the members themselves talk by way of these wires
    if owner is not None:
        for wire in world.to_store:
            wire.cut(owner)
    yield


@asynccontextmanager
async def store_silent(world: World, random: Random) -> AsyncIterator[None]:
    owner = random.choice(world.workers).pid
    async with _silent(world.to_store if owner is not None else [], owner):
        yield


@asynccontextmanager
async def member_killed(world: World, random: Random) -> AsyncIterator[None]:
    async with _killed(random.choice(world.replica_set.members)):
        yield


@asynccontextmanager
async def primary_killed(world: World, random: Random) -> AsyncIterator[None]:
    primary = await asyncio.to_thread(world.replica_set.primary)
    async with _killed(primary or random.choice(world.replica_set.members)):
        yield


@asynccontextmanager
async def primary_steps_down(world: World, random: Random) -> AsyncIterator[None]:
    del random
    await asyncio.to_thread(world.replica_set.step_down)
    yield


@asynccontextmanager
async def primary_frozen(world: World, random: Random) -> AsyncIterator[None]:
    """The primary keeps its connections and says nothing."""
    primary = await asyncio.to_thread(world.replica_set.primary) or random.choice(world.replica_set.members)
    primary.processes[-1].send(signal.SIGSTOP)
    yield
    primary.processes[-1].send(signal.SIGCONT)


@asynccontextmanager
async def supplier_cut(world: World, random: Random) -> AsyncIterator[None]:
    world.to_supplier.cut(_one_or_all(world, random))
    yield


@asynccontextmanager
async def supplier_silent(world: World, random: Random) -> AsyncIterator[None]:
    async with _silent([world.to_supplier], _one_or_all(world, random)):
        yield


def supplier_is(**behaviour: object) -> Fault:
    """Return the fault of a supplier that behaves so for a while."""

    @asynccontextmanager
    async def misbehaves(world: World, random: Random) -> AsyncIterator[None]:
        del random
        world.supplier.behaviour = Behaviour.model_validate({**CALM.model_dump(), **behaviour})
        yield
        world.supplier.behaviour = CALM

    return misbehaves


FAULTS: dict[str, tuple[str, Fault]] = {
    "worker kill -9": ("workers", worker_killed),
    "worker SIGTERM": ("workers", worker_terminated),
    "worker clock off": ("workers", worker_clock_off),
    "broker node kill -9": ("broker", node_killed),
    "broker leader kill -9": ("broker", leader_killed),
    "all broker nodes kill -9": ("broker", all_nodes_killed),
    "broker memory alarm": ("broker", memory_alarm),
    "broker closes connections": ("broker", connections_closed),
    "consumers cancelled": ("broker", consumers_cancelled),
    "consumer time-out": ("supplier", consumer_timeout),
    "broker network cut": ("wires", broker_cut),
    "broker network silent": ("wires", broker_silent),
    "store network cut": ("wires", store_cut),
    "store network silent": ("wires", store_silent),
    "store member kill -9": ("store", member_killed),
    "store primary kill -9": ("store", primary_killed),
    "store primary steps down": ("store", primary_steps_down),
    "store primary frozen": ("store", primary_frozen),
    "supplier network cut": ("wires", supplier_cut),
    "supplier network silent": ("wires", supplier_silent),
    "supplier outage": ("supplier", supplier_is(outage=True)),
    "supplier 5xx": ("supplier", supplier_is(failure_rate=0.5)),
    "supplier 5xx after dispatch": ("supplier", supplier_is(failure_rate=0.5, dispatch_before_failure=True)),
    "supplier too slow": ("supplier", supplier_is(timeout_rate=0.3, dispatch_before_timeout=True, latency=0.2)),
    "supplier answers cut": ("supplier", supplier_is(cut_rate=0.5)),
    "supplier resets": ("supplier", supplier_is(reset_rate=0.5, dispatch_before_reset=True)),
    "supplier 429 storm": ("supplier", supplier_is(throttle_rate=0.9, retry_after=1)),
}
"""Every kind by its name: what it is done to (two faults of the same part do not strike together), and the fault."""


@asynccontextmanager
async def _killed(server: ClusterNode | Member) -> AsyncIterator[None]:
    """Kill a server, and start it again; it is back when it can be used."""
    await asyncio.to_thread(server.kill)
    yield
    await asyncio.to_thread(start_again, server)


@asynccontextmanager
async def _silent(wires: list[Wire], owner: int | None) -> AsyncIterator[None]:
    for wire in wires:
        wire.silence(owner)
    yield
    for wire in wires:
        wire.heal(owner)


def _one_or_all(world: World, random: Random) -> int | None:
    """Return a worker's process, or None for all of them."""
    return random.choice([None, *(worker.pid for worker in world.workers)])


async def _evaluate(world: World, expression: str) -> None:
    for node in world.cluster.nodes:
        with suppress(LocalServerError):  # it is down: when it starts again, it has its settings from its file
            await asyncio.to_thread(node.ctl, "eval", expression)
