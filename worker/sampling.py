"""Keeping the history: every 10 s one of those who could, a worker or a console, stores how everything is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from infra.rabbitmq.topology import DEAD_LETTER_QUEUE, DELIVERED_QUEUE, WORK_QUEUE
from worker.domain.core import utc_now
from worker.domain.counts import Counts
from worker.domain.errors import StoreUnavailableError
from worker.domain.log import StructuredLogger
from worker.domain.periods import Period
from worker.domain.samples import COUNTED, PERIOD, ISamples, Sample, end_of_period
from worker.overview_picture import ILooksAtBroker, Overview, StoreLook, assemble
from worker.overview_words import order_takers

_HEARD_AFTER = 3.0
"""Seconds after the end of a period within which every worker that lives has reported it: they do every 2 s."""

_log = StructuredLogger("logistics.sampling")


class ILooksAtWork(ILooksAtBroker, Protocol):
    """Whoever looks at what a sample is made of."""

    async def look_at_work(self) -> StoreLook | str:
        """Look at workers' reports and open dead letters; the rest of the answer is empty."""
        ...


class Sampler:
    """Makes samples. Any number may run at once: for each period the first to claim it does the work."""

    def __init__(
        self,
        samples: ISamples,
        looks: ILooksAtWork,
        *,
        retention: timedelta,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`retention`: how long a sample is kept."""
        self._samples = samples
        self._looks = looks
        self._retention = retention
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Make samples until cancelled. A period in which the store is away has none."""
        while True:
            at = end_of_period(self._clock())
            await self._sleep((at - self._clock()).total_seconds())
            try:
                await self.take(at)
            except StoreUnavailableError as error:
                _log.debug("sample.failed", error=str(error))

    async def take(self, at: datetime) -> bool:
        """Store the sample of the period that ends now, unless somebody else does; return whether it was done.

        The queues are looked at first: what the workers say they had in hand is of the same moment, whenever it is
        heard. Raises StoreUnavailableError.
        """
        if not await self._samples.claim(at, keep_until=at + self._retention):
            return False
        looks = await self._looks.look_at_broker()
        await self._sleep(_HEARD_AFTER)
        seen = await self._looks.look_at_work()
        if isinstance(seen, str):
            raise StoreUnavailableError(seen)
        before = await self._samples.get(at - PERIOD)
        overview = assemble(looks, seen, delays=self._looks.delays, now=self._clock())
        await self._samples.fill(sample_of(at, overview, _periods(at, seen.reports), before=before))
        return True


def sample_of(at: datetime, overview: Overview, periods: Sequence[Period], *, before: Sample | None) -> Sample:
    """Return the sample of a period from what was seen at its end and what each worker did in it."""
    counts = sum((period.counts for period in periods), Counts())
    sample = Sample(
        at,
        counted={name: getattr(counts, name, None) for name in COUNTED},
        measured=_measured(overview, in_flight=sum(period.in_flight for period in periods)),
        times=counts.times,
    )
    return replace(sample, counted={**sample.counted, "published": _published(sample, before, left=counts.left)})


def _published(sample: Sample, before: Sample | None, *, left: int) -> int | None:
    """Work out what was published: what left the queues, and what they hold more than before."""
    if before is None or before.held is None or sample.held is None:
        return None
    return round(sample.held - before.held) + left


def _measured(overview: Overview, *, in_flight: int) -> dict[str, float | None]:
    ready = {queue.name: queue.ready for queue in overview.queues}
    live = [worker for worker in overview.workers or () if not worker.lost]
    oldest = overview.oldest_waiting
    return {
        "waiting": ready[WORK_QUEUE],
        "delayed": None if overview.delayed is None else sum(number or 0 for number in overview.delayed.values()),
        "in_flight": in_flight,
        "notices_waiting": ready[DELIVERED_QUEUE],
        "letters_waiting": ready[DEAD_LETTER_QUEUE],
        "open_letters": sum((overview.open_dead_letters or {}).values()),
        "oldest_waiting": 0.0 if oldest.waiting is False else oldest.at_most,
        "workers": len(live),
        "circuits_open": sum(worker.circuit != "closed" for worker in order_takers(live)),
    }


def _periods(at: datetime, reports: Sequence[Mapping[str, Any]]) -> list[Period]:
    """Return what each worker says of the period that ends then."""
    return [
        Period.from_document(period) for report in reports for period in report.get("periods", ()) if period["at"] == at
    ]
