"""Every body that a dead letter has had."""

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.errors import EditRefusedError
from worker.domain.letter_version import LetterVersion, current_version
from worker.domain.ports import ILetterEdits


class LetterVersions:
    """Reads the bodies of a letter; the newest one is on the letter, the earlier ones are kept beside it."""

    def __init__(self, edits: ILetterEdits) -> None:
        self._edits = edits

    async def of(self, letter: DeadLetterRecord) -> list[LetterVersion]:
        """Return the versions, oldest first, without the earlier bodies' bytes. Raises StoreUnavailableError."""
        kept = await self._edits.versions(letter.id) if letter.version else ()
        return [*(version for version in kept if version.number < letter.version), current_version(letter)]

    async def body(self, letter: DeadLetterRecord, number: int) -> bytes:
        """Return one of the bodies, byte for byte.

        Raises EditRefusedError when there is none of this number, StoreUnavailableError.
        """
        if number == letter.version:
            return letter.body
        found = await self._edits.version(letter.id, number) if number < letter.version else None
        if found is None:
            raise EditRefusedError(f"there is no version {number} of this dead letter; the newest is {letter.version}")
        return found.body
