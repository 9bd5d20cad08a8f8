"""Reading out many dead letters, bodies included."""

import asyncio
from collections.abc import AsyncIterator

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.ports import IDeadLetterSearch
from worker.domain.selection import Selection

_EVERYTHING = 2**31 - 1
_AT_ONCE = 20


async def whole_letters(dead_letters: IDeadLetterSearch, selection: Selection) -> AsyncIterator[DeadLetterRecord]:
    """Yield the letters, newest first, with their bodies; only a few bodies are in memory at a time."""
    ids: list[str] = []
    async for letter in dead_letters.search(selection, limit=_EVERYTHING):
        ids.append(letter.id)
        if len(ids) == _AT_ONCE:
            for whole in await asyncio.gather(*map(dead_letters.get, ids)):
                if whole is not None:
                    yield whole
            ids.clear()
    for whole in await asyncio.gather(*map(dead_letters.get, ids)):
        if whole is not None:
            yield whole
