"""One live picture of everything for all who watch: servers are asked twice a second, however many watch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from infra.mongodb.samples import MongoSamples
from worker.background import Background
from worker.domain.core import utc_now
from worker.history import History, HistoryReader
from worker.last_known import LastKnown
from worker.overview import open_overview_and_store
from worker.overview_picture import BROKER, STORE, ILooks, Looks, Overview, StoreLook, assemble, unreachable
from worker.overview_problems import problems
from worker.problem import Problem
from worker.rates import Meter, Rates
from worker.sampling import Sampler
from worker.settings import Settings

_EVERY = 0.5
_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class LivePicture:
    """Everything at one moment, as far as it is known."""

    number: int
    """Counts the pictures of a feed, from 1."""
    taken_at: datetime
    problems: Sequence[Problem]
    """What is wrong, the worst first; empty when all is well."""
    overview: Overview
    """Its `unreachable` names the servers that do not answer now and says why. Of those it shows what was last known:
    None only where nothing ever was."""
    rates: Rates
    """While MongoDB does not answer, those last known."""
    last_known: Mapping[str, datetime]
    """For each server that does not answer now (`RabbitMQ`, `MongoDB`): of when that is what is shown of it."""


class OverviewFeed:
    """The newest picture and those to come, for any number of watchers. `open_feed` opens one."""

    def __init__(self, looks: ILooks, *, history: HistoryReader, clock: Callable[[], datetime] = utc_now) -> None:
        self._delays = looks.delays
        self._history = history
        self._clock = clock
        self._broker = LastKnown[Looks](BROKER, looks.look_at_broker, clock=clock)
        self._store = LastKnown[StoreLook](STORE, looks.look_at_store, clock=clock)
        self._meter = Meter()
        self._rates = Rates()
        self._latest: LivePicture | None = None
        self._news = asyncio.Condition()

    def latest(self) -> LivePicture:
        """Return the newest picture."""
        if self._latest is None:
            raise RuntimeError("nobody has looked yet")
        return self._latest

    async def next(self, *, after: int) -> LivePicture:
        """Return the newest picture as soon as there is one with a higher number than `after`."""
        async with self._news:
            await self._news.wait_for(lambda: self.latest().number > after)
        return self.latest()

    async def history(self, *, hours: float) -> History:
        """Return the last so many hours as lines; what happened is in them some 15 s later.

        While MongoDB does not answer: what was last known of these hours, or lines of gaps. Raises ValueError unless
        `hours` is from 0.1 to 10,000.
        """
        return await self._history.read(hours=hours)

    async def look(self) -> None:
        """Make a picture. A server that hangs holds it up for a second: what it says comes into a later one."""
        await asyncio.gather(self._broker.look(patience=_PATIENCE), self._store.look(patience=_PATIENCE))
        picture = self._picture()
        async with self._news:
            self._latest = picture
            self._news.notify_all()

    async def keep_looking(self) -> None:
        """Make a picture every half second until cancelled."""
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while True:
            next_at = max(next_at + _EVERY, clock())
            await asyncio.sleep(next_at - clock())
            await self.look()

    async def stop(self) -> None:
        """Ask no server further."""
        await asyncio.gather(self._broker.stop(), self._store.stop())

    def _picture(self) -> LivePicture:
        now = self._clock()
        self._measure(now)
        away = [server for server in (self._broker, self._store) if not server.answers]
        # What workers said is shown as it was when they could last be heard: silence of the store is none of theirs.
        heard_at = now if self._store.answers else self._store.known_at or now
        overview = replace(
            assemble(self._broker.shown, self._store.shown, delays=self._delays, now=heard_at),
            taken_at=now,
            unreachable={server.server: unreachable(server.server, *server.words) for server in away},
        )
        return LivePicture(
            number=1 if self._latest is None else self._latest.number + 1,
            taken_at=now,
            problems=problems(overview),
            overview=overview,
            rates=self._rates,
            last_known={server.server: server.known_at for server in away if server.known_at is not None},
        )

    def _measure(self, now: datetime) -> None:
        if self._broker.answers and self._broker.known is not None:
            self._meter.note_queues(self._broker.known, now=self._broker.known_at or now)
        if self._store.answers and self._store.known is not None:
            self._meter.note_reports(self._store.known.reports, now=now)
            self._rates = self._meter.rates(now=now)


@asynccontextmanager
async def open_feed(settings: Settings, *, keeps_history: bool) -> AsyncIterator[OverviewFeed]:
    """Look at broker and store from now on, every half second, and tell what is seen.

    The first picture is there at once, within a second if a server hangs. Servers that are away are told in it, they
    raise nothing. `keeps_history`: make samples, too, as every worker does: so there is a history of the time in which
    none runs. Raises ConfigurationError for an address that is missing or cannot be one.
    """
    async with open_overview_and_store(settings) as (service, store):
        samples = MongoSamples(store)
        feed = OverviewFeed(service, history=HistoryReader(samples))
        background = Background()
        try:
            await feed.look()
            background.start(feed.keep_looking)
            if keeps_history:
                retention = timedelta(seconds=settings.history_retention)
                background.start(Sampler(samples, service, retention=retention).run)
            yield feed
        finally:
            await background.stop()
            await feed.stop()
