"""What a worker says of itself to the store every second or two, for `logistics status` and the console."""

import asyncio
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from infra.rabbitmq.topology import WORK_QUEUE
from worker.bootstrap import Worker
from worker.domain.errors import BrokerUnavailableError, StoreUnavailableError
from worker.domain.log import StructuredLogger
from worker.domain.periods import Periods
from worker.identity import program_version

_REPORT_EVERY = 1.0
"""Seconds, where there is something new to tell; where there is not, every other time, as a sign of life."""
_LOOK_EVERY = 2.0

_log = StructuredLogger("logistics.worker")


async def keep_reporting(worker: Worker, *, health: str) -> None:
    """Report until cancelled, then say once more that the worker has stopped. `health`: where its health answers."""
    started_at = datetime.now(UTC)
    periods, told = Periods(worker.tally, now=started_at), None
    try:
        while True:
            portrait = _self_portrait(worker, health, started_at)
            if portrait != told or int(time.time() / _REPORT_EVERY) % 2 == 0:
                try:
                    await _report(worker, portrait, periods)
                    told = portrait
                except StoreUnavailableError as error:
                    _log.debug("report.failed", error=str(error))
            # All report at the same moments, so that what they say of the end of a period is of the same moment.
            await worker.controlling.news(within=_REPORT_EVERY - time.time() % _REPORT_EVERY)
    finally:
        try:
            async with asyncio.timeout(2.0):
                await _report(worker, _self_portrait(worker, health, started_at), periods, stopped=True)
        except (StoreUnavailableError, TimeoutError) as error:
            _log.debug("report.not_withdrawn", error=str(error))


async def _report(worker: Worker, portrait: Mapping[str, Any], periods: Periods, *, stopped: bool = False) -> None:
    now = datetime.now(UTC)
    closed = periods.look(in_flight=portrait["in_flight"].get(WORK_QUEUE, 0), now=now, is_last=stopped)
    report = {**portrait, "periods": [period.document() for period in closed]}
    await worker.reports.report(worker.name, {**report, "stopped": True} if stopped else report, now=now)


async def keep_looking_at_backlog(worker: Worker) -> None:
    """Note how many orders wait, until cancelled; beside the reports, which no broker that is slow must hold up."""
    while True:
        try:
            depths = await worker.depths.read([WORK_QUEUE])
        except BrokerUnavailableError as error:
            _log.debug("depths.failed", error=str(error))
        else:
            worker.backlog.seen(depths[WORK_QUEUE], now=datetime.now(UTC))
        await asyncio.sleep(_LOOK_EVERY)


def _self_portrait(worker: Worker, health: str, started_at: datetime) -> dict[str, Any]:
    return {
        "version": program_version(),
        "pid": os.getpid(),
        "health": health,
        "started_at": started_at,
        "circuit": str(worker.circuit.state),
        "circuit_retry_after": round(worker.circuit.retry_after, 3),
        "circuit_open_for": round(worker.circuit.open_for, 3),
        "last_failure": worker.circuit.last_failure,
        "intake_limit": worker.intake.limit,
        "control": worker.controlling.carried_out,
        "in_flight": {subscriber.queue: subscriber.in_flight for subscriber in worker.subscribers},
        "counts": worker.tally.counts.document(),
        "runs_replays": worker.runs_replays,
        "connected": all(subscriber.is_connected for subscriber in worker.subscribers),
        "waiting_since": worker.backlog.waiting_since,
        "oldest_in_flight": worker.backlog.oldest_in_flight,
    }
