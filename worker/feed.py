"""One live picture of everything for all who watch: servers are asked once a second, however many watch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from worker.background import Background
from worker.domain.core import utc_now
from worker.last_known import LastKnown
from worker.overview import open_overview
from worker.overview_picture import BROKER, STORE, Looks, Overview, StoreLook, assemble
from worker.overview_words import problems
from worker.rates import Meter, Rates
from worker.settings import Settings

_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class LivePicture:
    """Everything at one moment, as far as it is known."""

    number: int
    """Counts the pictures of a feed, from 1."""
    taken_at: datetime
    problems: Sequence[str]
    """What is wrong, one sentence each, the worst first; empty when all is well."""
    overview: Overview
    """Its `unreachable` names the servers that do not answer now and says why. Of those it shows what was last known:
    None only where nothing ever was."""
    rates: Rates
    """While MongoDB does not answer, those last known."""
    last_known: Mapping[str, datetime]
    """For each server that does not answer now (`RabbitMQ`, `MongoDB`): of when that is what is shown of it."""


class OverviewFeed:
    """The newest picture and those to come, for any number of watchers. `open_feed` opens one."""

    def __init__(
        self,
        *,
        look_at_broker: Callable[[], Coroutine[Any, Any, Looks | str]],
        look_at_store: Callable[[], Coroutine[Any, Any, StoreLook | str]],
        delays: Sequence[str],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """A look returns what was seen, or why nothing was. `delays`: the labels of the delay queues."""
        self._delays = delays
        self._clock = clock
        self._broker = LastKnown[Looks](BROKER, look_at_broker, clock=clock)
        self._store = LastKnown[StoreLook](STORE, look_at_store, clock=clock)
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

    async def look(self) -> None:
        """Make a picture. A server that hangs holds it up for a second: what it says comes into a later one."""
        await asyncio.gather(self._broker.look(patience=_EVERY), self._store.look(patience=_EVERY))
        picture = self._picture()
        async with self._news:
            self._latest = picture
            self._news.notify_all()

    async def keep_looking(self) -> None:
        """Make a picture every second until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            next_at = clock() + _EVERY
            await self.look()
            await asyncio.sleep(next_at - clock())

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
            unreachable={server.server: server.in_words(now=now) for server in away},
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
async def open_feed(settings: Settings) -> AsyncIterator[OverviewFeed]:
    """Look at broker and store from now on, every second, and tell what is seen.

    The first picture is there at once, within a second if a server hangs. Servers that are away are told in it, they
    raise nothing. Raises ConfigurationError for an address that is missing or cannot be one.
    """
    async with open_overview(settings) as service:
        feed = OverviewFeed(
            look_at_broker=service.look_at_broker, look_at_store=service.look_at_store, delays=service.delays
        )
        background = Background()
        try:
            await feed.look()
            background.start(feed.keep_looking)
            yield feed
        finally:
            await background.stop()
            await feed.stop()
