"""Editing as a fake: it keeps the contract of `ILetterEdits`, on the letters of a FakeDeadLetters."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tests.support.fakes import FakeDeadLetters, _Claim
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.letter_version import LetterVersion
from worker.domain.selection import DeadLetterState


class FakeLetterEdits:
    """`ILetterEdits` in memory."""

    def __init__(self, dead_letters: FakeDeadLetters) -> None:
        self._dead_letters = dead_letters
        self.kept: dict[tuple[str, int], LetterVersion] = {}

    async def keep(self, version: LetterVersion) -> None:
        await asyncio.sleep(0)
        self.kept[version.letter_id, version.number] = version

    async def versions(self, letter_id: str) -> Sequence[LetterVersion]:
        await asyncio.sleep(0)
        found = [version for version in self.kept.values() if version.letter_id == letter_id]
        return [replace(version, body=b"") for version in sorted(found, key=lambda version: version.number)]

    async def version(self, letter_id: str, number: int) -> LetterVersion | None:
        await asyncio.sleep(0)
        return self.kept.get((letter_id, number))

    async def claim_edited(self, edited: DeadLetterRecord, *, replay_id: str, by: str, why: str, now: datetime) -> bool:
        await self._dead_letters._writing("claim_edited")
        stored = self._dead_letters.letters.get(edited.id)
        if stored is None or stored.state is not DeadLetterState.OPEN or stored.revision != edited.revision:
            return False
        made = LetterEvent(at=now, event="edited", replay_id=replay_id, by=by, note=why)
        self._dead_letters.letters[edited.id] = replace(
            stored,
            state=DeadLetterState.REPLAYING,
            body=edited.body,
            headers=edited.headers,
            order_id=edited.order_id,
            version=edited.version,
            replay_id=replay_id,
            job_id=None,
            history=(*stored.history, made, LetterEvent(at=now, event="replayed", replay_id=replay_id, by=by)),
            revision=stored.revision + 1,
        )
        self._dead_letters._claims[edited.id] = _Claim(now)
        return True
