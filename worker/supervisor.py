"""Several worker processes as one: started, kept running, asked for their health together, drained together."""

import asyncio
import os
from collections.abc import Mapping, Sequence

from infra.telemetry.health import HealthServer
from infra.telemetry.merged_metrics import merged_page
from worker.back_off import BackOff
from worker.background import first_of
from worker.domain.log import StructuredLogger
from worker.place import Place
from worker.settings import Settings
from worker.signals import stop_on_signals

_log = StructuredLogger("logistics.supervisor")


async def supervise(settings: Settings, *, processes: int, consumers: Sequence[str]) -> int:
    """Keep so many worker processes running until SIGTERM or SIGINT, then drain them; return the exit code.

    A second signal ends this process, and with it the kernel ends the others: so does its death, whatever it dies of.
    Raises ConfigurationError when the health address is taken.
    """
    stop = stop_on_signals()
    arguments = ["--processes", "1", "--consumers", ",".join(consumers)]
    places = [
        Place(number, arguments=arguments, environment=os.environ, back_off=BackOff())
        for number in range(1, processes + 1)
    ]
    health = HealthServer(live=lambda: _live(places), ready=lambda: _ready(places), metrics=lambda: _metrics(places))
    address = await health.listen(settings.health_addr)
    _log.info("supervisor.started", processes=processes, health=address)
    try:
        code = await _keep(places, stop, settings.drain_timeout)
    finally:
        await health.stop()
    _log.info("supervisor.stopped")
    return code


async def _keep(places: Sequence[Place], stop: asyncio.Event, drain_timeout: float) -> int:
    """Keep a process in each place until `stop`, or until one cannot begin; return the highest exit code.

    The first begins alone, so that what is wrong with the settings or the queues is said once.
    """
    begun = asyncio.Event()
    keeping = [_keeping(places[0], stop, begun, drain_timeout)]
    await first_of(begun.wait(), stop.wait(), asyncio.wait(keeping))
    if begun.is_set():
        keeping += [_keeping(place, stop, begun, drain_timeout) for place in places[1:]]
    await first_of(stop.wait(), asyncio.wait(keeping, return_when=asyncio.FIRST_COMPLETED))
    stop.set()
    return max(0, *await asyncio.gather(*keeping))


def _keeping(place: Place, stop: asyncio.Event, begun: asyncio.Event, drain_timeout: float) -> asyncio.Task[int]:
    return asyncio.create_task(place.keep(stop=stop, begun=begun, drain_timeout=drain_timeout))


async def _live(places: Sequence[Place]) -> Mapping[str, str | None]:
    """Every process is live, or was started again lately and may well be soon."""
    problems = await asyncio.gather(*(place.why_not_live() for place in places))
    return {f"process {place.number}": problem for place, problem in zip(places, problems, strict=True)}


async def _ready(places: Sequence[Place]) -> Mapping[str, str | None]:
    """One process that can work is enough: the others are waited for by nobody."""
    problems = await asyncio.gather(*(place.why_not_ready() for place in places))
    if None in problems:
        return {f"{problems.count(None)} of {len(places)} processes": None}
    return {f"process {place.number}": problem for place, problem in zip(places, problems, strict=True)}


async def _metrics(places: Sequence[Place]) -> bytes:
    states = await asyncio.gather(*(place.state() for place in places))
    return merged_page({place.number: state for place, state in zip(places, states, strict=True)})
