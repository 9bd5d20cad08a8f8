"""Learning what became of the copies that are out, and of those nobody knows whether they are."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from worker.domain.core import utc_now
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.log import StructuredLogger
from worker.domain.replay import Origin
from worker.domain.replay_job import ON_ITS_WAY, ItemState, ReplayItem, ReplayJob
from worker.domain.replay_outcome import claimed_at, outcome_of, was_claimed, was_taken
from worker.domain.replay_ports import IReplayClaims, IReplayItems, IWaiting
from worker.domain.replay_sender import MAX_WAVE, ReplaySender, wave_of

_PAGE = 500
_EVERYTHING = 2**31 - 1

_log = StructuredLogger("logistics.replays")


@dataclass(slots=True)
class _Doubt:
    """What this runner has seen of an item in doubt, in monotonic seconds."""

    claimed_at: datetime | None
    """The claim that it is about; None when the letter was not claimed yet."""
    since: float
    seen_empty: float | None = None
    """When the copy's queue was."""

    def lasts(self, seconds: float, *, now: float) -> bool:
        return now - self.since >= seconds


class ReplaySettling:
    """Follows the copies of the jobs to their outcome.

    A copy is in doubt when the runner or the connection died over its publish. It is not sent again on suspicion,
    only when nothing can be left of it: its queue was seen empty, and no worker has noted it as taken since.
    """

    def __init__(
        self,
        *,
        items: IReplayItems,
        claims: IReplayClaims,
        sender: ReplaySender,
        waiting: IWaiting,
        grace: float,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`grace`: seconds within which a worker that has a copy in hand has noted that, or given the copy up."""
        self._items = items
        self._claims = claims
        self._sender = sender
        self._waiting = waiting
        self._grace = grace
        self._clock = clock
        self._monotonic = monotonic
        self._doubts: dict[str, _Doubt] = {}

    def doubt_anew(self) -> None:
        """Forget what was seen of copies in doubt: a server was away, so no news of them meant nothing."""
        self._doubts.clear()

    async def settle(self, job: ReplayJob | None) -> int:
        """Store the outcomes there are, of a job or (None) of every job; return how many copies are still out.

        In doubt, only a job's own copies are looked for and sent again. Raises StoreUnavailableError and
        BrokerUnavailableError.
        """
        left = 0
        waiting: dict[Origin, int | None] = {}
        async for page in _in_pages(self._items.on_their_way(job.id if job is not None else None, limit=_EVERYTHING)):
            sent = [item for item in page if item.state is ItemState.SENT]
            in_doubt = [item for item in page if item.state is ItemState.IN_DOUBT]
            news = await self._outcomes(sent)
            news += await self._look_into(job, in_doubt, waiting)
            await self._items.record(news)
            left += len(page) - sum(item.state not in ON_ITS_WAY for item in news)
        return left

    async def _outcomes(self, sent: Sequence[ReplayItem]) -> list[ReplayItem]:
        letters = {letter.id: letter for letter in await self._claims.look(_ids(sent), settled_only=True)}
        now = self._clock()
        found = [outcome_of(item, letters[item.letter_id], now=now) for item in sent if item.letter_id in letters]
        return [item for item in found if item is not None]

    async def _look_into(
        self, job: ReplayJob | None, in_doubt: Sequence[ReplayItem], waiting: dict[Origin, int | None]
    ) -> list[ReplayItem]:
        if not in_doubt:
            return []
        letters = {letter.id: letter for letter in await self._claims.look(_ids(in_doubt), settled_only=False)}
        news: list[ReplayItem] = []
        lost: list[ReplayItem] = []
        for item in in_doubt:
            letter = letters.get(item.letter_id)
            if letter is not None and not was_claimed(item, letter):
                if job is not None or self._doubt(item, letter).lasts(self._grace, now=self._monotonic()):
                    news.append(_not_begun(item))
            elif (known := self._what_is_known(item, letter)) is not None:
                news.append(known)
            elif job is not None and letter is not None and await self._is_lost(job, item, letter, waiting):
                lost.append(item)
        wave = wave_of(lost, letters=MAX_WAVE)
        for item in (*news, *wave):
            self._doubts.pop(item.letter_id, None)
        if job is not None and wave:
            _log.warning("replay.sent_again", job=job.id, count=len(wave), why="their copies never arrived")
            news += await self._sender.send_again(job, wave)
        return news

    def _what_is_known(self, item: ReplayItem, letter: DeadLetterRecord | None) -> ReplayItem | None:
        now = self._clock()
        if letter is None:
            return replace(item, state=ItemState.TAKEN_BACK, ended_at=now, why="the dead letter was deleted")
        if was_taken(item, letter):
            return outcome_of(item, letter, now=now) or replace(item, state=ItemState.SENT, why=None)
        return outcome_of(item, letter, now=now)

    def _doubt(self, item: ReplayItem, letter: DeadLetterRecord) -> "_Doubt":
        """Return what is held about an item in doubt; nothing is left of it when another runner claimed the letter."""
        claimed, known = claimed_at(item, letter), self._doubts.get(item.letter_id)
        if known is None or known.claimed_at != claimed:
            known = self._doubts[item.letter_id] = _Doubt(claimed, since=self._monotonic())
        return known

    async def _is_lost(
        self, job: ReplayJob, item: ReplayItem, letter: DeadLetterRecord, waiting: dict[Origin, int | None]
    ) -> bool:
        """Whether nothing can be left of the copy: first seen missing in its queue, then given time to show up."""
        now, doubt = self._monotonic(), self._doubt(item, letter)
        if not doubt.lasts(self._grace, now=now):
            return False
        seen_empty = doubt.seen_empty
        if seen_empty is not None and now - seen_empty < self._grace:
            return False
        target = self._sender.target_of(job, letter)
        if target not in waiting:
            waiting[target] = await self._waiting.waiting_at(target.exchange, target.routing_key)
        if waiting[target] != 0:
            doubt.seen_empty = None  # it may have been put off, and be back
            return False
        doubt.seen_empty = now if seen_empty is None else seen_empty
        return seen_empty is not None


def _not_begun(item: ReplayItem) -> ReplayItem:
    return replace(item, state=ItemState.WAITING, round=0, sent_at=None, why=None)


async def _in_pages(items: AsyncIterator[ReplayItem]) -> AsyncIterator[list[ReplayItem]]:
    page: list[ReplayItem] = []
    async for item in items:
        page.append(item)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _ids(items: Sequence[ReplayItem]) -> list[str]:
    return [item.letter_id for item in items]
