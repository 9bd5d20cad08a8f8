"""Discarding and restoring as a fake: it keeps the contract of `ITriage`, on the letters of a FakeDeadLetters."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from tests.support.fakes import FakeDeadLetters
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.selection import DeadLetterState, Selection


class FakeTriage:
    """`ITriage` in memory."""

    def __init__(self, dead_letters: FakeDeadLetters) -> None:
        self._dead_letters = dead_letters
        self.before_write: Callable[[str, Selection], Awaitable[None]] | None = None
        """Called with the name and selection of each write; what it raises, the write raises, undone."""

    async def ids(self, selection: Selection, *, claimed_before: datetime | None = None) -> Sequence[str]:
        found = [letter.id async for letter in self._dead_letters.search(selection, limit=2**31 - 1)]
        letters = (self._dead_letters.letters[letter_id] for letter_id in found)
        return [letter.id for letter in letters if claimed_before is None or _claimed_before(letter, claimed_before)]

    async def discard(self, selection: Selection, *, by: str, why: str, expires_at: datetime, now: datetime) -> int:
        event = LetterEvent(at=now, event="discarded", by=by, note=why)
        return await self._move(
            replace(selection, state=DeadLetterState.OPEN), DeadLetterState.DISCARDED, event, expires_at=expires_at
        )

    async def restore(self, selection: Selection, *, by: str, why: str, now: datetime) -> int:
        event = LetterEvent(at=now, event="restored", by=by, note=why)
        return await self._move(replace(selection, state=DeadLetterState.DISCARDED), DeadLetterState.OPEN, event)

    async def give_up(self, selection: Selection, *, claimed_before: datetime, by: str, why: str, now: datetime) -> int:
        event = LetterEvent(at=now, event="given_up", by=by, note=why)
        return await self._move(
            replace(selection, state=DeadLetterState.REPLAYING),
            DeadLetterState.OPEN,
            event,
            also=lambda letter: _claimed_before(letter, claimed_before),
        )

    async def _move(
        self,
        selection: Selection,
        state: DeadLetterState,
        event: LetterEvent,
        *,
        expires_at: datetime | None = None,
        also: Callable[[DeadLetterRecord], bool] = lambda _: True,
    ) -> int:
        await asyncio.sleep(0)
        if self.before_write is not None:
            await self.before_write(event.event, selection)
        moved = [letter for letter in self._dead_letters._matching(selection) if also(letter)]
        for letter in moved:
            self._dead_letters.letters[letter.id] = replace(
                letter,
                state=state,
                expires_at=expires_at,
                history=(*letter.history, event),
                revision=letter.revision + 1,
            )
        return len(moved)


def _claimed_before(letter: DeadLetterRecord, time: datetime) -> bool:
    claims = [event.at for event in letter.history if event.event == "replayed"]
    return bool(claims) and claims[-1] < time
