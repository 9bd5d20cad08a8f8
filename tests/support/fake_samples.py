"""The samples as a fake: it keeps the contract of `ISamples`, in memory."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from worker.domain.errors import StoreUnavailableError
from worker.domain.samples import COUNTED, MEASURED, Sample, Slot


class FakeSamples:
    """`ISamples` in memory."""

    def __init__(self) -> None:
        self.claimed: dict[datetime, datetime] = {}
        self.filled: dict[datetime, Sample] = {}
        self.is_down = False
        self.read = 0
        """How often slots were asked for."""

    async def claim(self, at: datetime, *, keep_until: datetime) -> bool:
        await self._answer()
        return self.claimed.setdefault(at, keep_until) is keep_until

    async def fill(self, sample: Sample) -> None:
        await self._answer()
        if sample.at in self.claimed:
            self.filled[sample.at] = sample

    async def get(self, at: datetime) -> Sample | None:
        await self._answer()
        return self.filled.get(at)

    async def slots(self, *, since: datetime, until: datetime, step: timedelta) -> Sequence[Slot]:
        self.read += 1
        await self._answer()
        by_start: dict[datetime, list[Sample]] = {}
        for at, sample in sorted(self.filled.items()):
            if since < at <= until:
                within = (at.timestamp() - 0.001) % step.total_seconds()
                by_start.setdefault(at - timedelta(seconds=within + 0.001), []).append(sample)
        return [_slot(start, samples) for start, samples in by_start.items()]

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.is_down:
            raise StoreUnavailableError("the fake store is down")


def _slot(start: datetime, samples: Sequence[Sample]) -> Slot:
    return Slot(
        start=start,
        counted={name: _average(_known(sample.counted.get(name) for sample in samples)) for name in COUNTED},
        measured={name: max(_known(s.measured.get(name) for s in samples), default=None) for name in MEASURED},
        times=sum((Counter(sample.times) for sample in samples), Counter()),
    )


def _average(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def _known(numbers: Iterable[Any]) -> list[Any]:
    return [number for number in numbers if number is not None]
