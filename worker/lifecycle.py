"""A worker's life: start, run, drain, stop."""

import asyncio
import time
from collections.abc import Mapping

from infra.telemetry.health import HealthServer
from worker.background import Background, end
from worker.bootstrap import Worker
from worker.domain.errors import BrokerUnavailableError, StoreUnavailableError
from worker.domain.log import StructuredLogger
from worker.garbage import keep_collecting
from worker.identity import program_version
from worker.reporting import keep_looking_at_backlog, keep_reporting
from worker.signals import stop_on_signals
from worker.spans import SPANS_TIMEOUT

_SWEEP_EVERY = 30.0
_TIDY_EVERY = 600.0

_log = StructuredLogger("logistics.worker")


async def run_worker(worker: Worker) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    Waits for servers that are not there yet, saying so. Raises ConfigurationError (health address taken) and
    TopologyMismatchError (the broker's queues differ).
    """
    stop = stop_on_signals()
    health = HealthServer(
        live=lambda: _live(worker), ready=lambda: _ready(worker), metrics=lambda: _metrics_page(worker)
    )
    address = await health.listen(worker.settings.health_addr)
    _log.info(
        "worker.started",
        worker=worker.name,
        version=program_version(),
        queues=[subscriber.queue for subscriber in worker.subscribers],
        prefetch=worker.settings.prefetch,
        health=address,
    )
    background = Background()
    try:
        background.start(worker.intake.run)
        background.start(worker.controlling.run)
        background.start(lambda: keep_looking_at_backlog(worker))
        background.start(lambda: keep_reporting(worker, health=address))
        background.start(worker.sampler.run)
        background.start(keep_collecting)
        if worker.files_dead_letters:
            background.start(lambda: _sweep(worker))
            background.start(lambda: _tidy(worker))
        if worker.runs_replays:
            background.start(worker.replaying.run)
        consuming = [asyncio.create_task(subscriber.run()) for subscriber in worker.subscribers]
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, *consuming], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await _drain(worker, consuming)
    finally:
        await background.stop()
        await _close(worker, health)
    for task in consuming:
        if not task.cancelled():
            task.result()


async def _drain(worker: Worker, consuming: list[asyncio.Task[None]]) -> None:
    """Stop taking, finish what is in flight within the deadline, give the rest back."""
    in_flight = sum(subscriber.in_flight for subscriber in worker.subscribers)
    _log.info("worker.draining", in_flight=in_flight, deadline=worker.settings.drain_timeout)
    started = time.monotonic()
    finished = await asyncio.gather(
        *(subscriber.stop(deadline=worker.settings.drain_timeout) for subscriber in worker.subscribers)
    )
    if consuming:
        _, unfinished = await asyncio.wait(consuming, timeout=5.0)
        await end(unfinished)
    seconds = round(time.monotonic() - started, 2)
    if all(finished):
        _log.info("worker.drained", seconds=seconds)
    else:
        _log.warning("worker.gave_back", seconds=seconds, why="the deadline passed; the broker delivers the rest again")


async def _close(worker: Worker, health: HealthServer) -> None:
    try:
        await worker.publisher.close()
        await worker.replaying.close()
        await worker.depths.close()
    except BrokerUnavailableError as error:
        _log.debug("broker.close_failed", error=str(error))
    worker.overview.stop()
    await worker.supplier.close()
    await worker.store.close()
    await health.stop()
    if not await asyncio.to_thread(worker.tracing.close, timeout=SPANS_TIMEOUT):
        _log.warning("spans.lost", why="the collector did not take the last of them in time")
    _log.info("worker.stopped")


async def _sweep(worker: Worker) -> None:
    """Reopen, now and then, dead letters whose replay died on the way out."""
    while True:
        await asyncio.sleep(_SWEEP_EVERY)
        try:
            reopened = await worker.filing.reopen_abandoned()
        except StoreUnavailableError as error:
            _log.debug("sweep.failed", error=str(error))
        else:
            if reopened:
                _log.warning("dead_letters.reopened", count=reopened, why="their replay never went out")


async def _tidy(worker: Worker) -> None:
    """Remove, now and then, what dead letters that have expired left behind."""
    while True:
        await asyncio.sleep(_TIDY_EVERY)
        try:
            removed = await worker.leftovers.remove()
        except StoreUnavailableError as error:
            _log.debug("tidy.failed", error=str(error))
        else:
            if removed:
                _log.info("dead_letters.tidied", documents=removed, why="their dead letters have expired")


async def _live(worker: Worker) -> Mapping[str, str | None]:
    return {subscriber.queue: subscriber.why_deaf for subscriber in worker.subscribers}


async def _ready(worker: Worker) -> Mapping[str, str | None]:
    """Broker and store. An open circuit is not unready: the worker does what it should."""
    checks: dict[str, str | None] = {
        subscriber.queue: None if subscriber.is_connected else "not connected to RabbitMQ"
        for subscriber in worker.subscribers
    }
    try:
        async with asyncio.timeout(2.0):
            await worker.store.ping()
        checks["store"] = "not ready to work with; see the log" if worker.intake.store_is_down else None
    except (StoreUnavailableError, TimeoutError) as error:
        checks["store"] = str(error) or "MongoDB did not answer within 2 s"
    return checks


async def _metrics_page(worker: Worker) -> bytes:
    return worker.metrics.render(await _live(worker), await _ready(worker))
