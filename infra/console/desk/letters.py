"""Looking at dead letters."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from infra.console.access.roles import Role
from infra.console.desk.masks import masked_view
from infra.console.desk.part import Part, needs
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.errors import EditRefusedError, NotFoundError
from worker.domain.letter_view import LetterView
from worker.domain.selection import DeadLetterGroup, HourCount, Place, Selection
from worker.exporting import whole_letters


@dataclass(frozen=True, slots=True)
class LetterPage:
    """A part of a list."""

    total: int
    """How many the whole list has."""
    letters: Sequence[DeadLetterRecord]
    """Newest first, without bodies."""
    next: Place | None
    """After what the next part begins; None: this was the last."""


class LetterDesk(Part):
    """Reads dead letters. Every method raises StoreUnavailableError, too."""

    @needs(Role.READER)
    async def page(self, selection: Selection, *, limit: int, after: Place | None = None) -> LetterPage:
        """Return the newest letters of the selection, or the ones after a place."""
        total = await self._services.letters.count(selection)
        found = self._services.letters.search(selection, limit=limit + 1, after=after)
        letters = [letter async for letter in found]
        last = letters[limit - 1] if len(letters) > limit else None
        return LetterPage(total, letters[:limit], None if last is None else Place(last.dead_lettered_at, last.id))

    @needs(Role.READER)
    async def groups(self, selection: Selection) -> Sequence[DeadLetterGroup]:
        """Return the selection by fingerprint, largest group first."""
        return await self._services.letters.groups(selection)

    @needs(Role.READER)
    async def hours(self, selection: Selection) -> Sequence[HourCount]:
        """Return how many letters of the selection were dead-lettered in each hour that has some, the oldest first."""
        return await self._services.letters.hours(selection)

    @needs(Role.READER)
    async def show(self, letter_id: str) -> LetterView:
        """Return everything about a letter; its body is empty for whom it `is_masked`. Raises NotFoundError."""
        view = await self._services.views.of(letter_id)
        if view is None:
            raise _not_found(letter_id)
        return masked_view(view) if self.is_masked else view

    @needs(Role.OPERATOR)
    async def body(self, letter_id: str, *, version: int | None = None) -> bytes:
        """Return a letter's body, or an earlier one, byte for byte. Raises NotFoundError."""
        letter = await self._services.letters.get(letter_id)
        if letter is None:
            raise _not_found(letter_id)
        try:
            return letter.body if version is None else await self._services.versions.body(letter, version)
        except EditRefusedError as error:
            raise NotFoundError(str(error)) from error

    @needs(Role.OPERATOR)
    def export(self, selection: Selection) -> AsyncIterator[DeadLetterRecord]:
        """Yield the letters of the selection, newest first, bodies included; few are in memory at a time."""
        return whole_letters(self._services.letters, selection)


def _not_found(letter_id: str) -> NotFoundError:
    return NotFoundError(f"there is no dead letter {letter_id!r}: it may have been discarded, and have expired")
