"""Everything that is known about one dead letter."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_story import ReplayStory, TimelineEntry, replays_of, timeline
from worker.domain.letter_version import LetterVersion
from worker.domain.letter_versions import LetterVersions
from worker.domain.ports import IDeadLetterSearch, ILetterEdits, IRepository
from worker.domain.selection import Selection
from worker.domain.shipment import Shipment, shipment_id_for

_MAX_OTHERS = 50


@dataclass(frozen=True, slots=True)
class LetterView:
    """One dead letter and what belongs to it."""

    letter: DeadLetterRecord
    shipment: Shipment | None
    versions: Sequence[LetterVersion]
    """Every body it has had, oldest first, the last one its own; the earlier ones without their bytes."""
    replays: Sequence[ReplayStory]
    timeline: Sequence[TimelineEntry]


class LetterViews:
    """Gathers the views."""

    def __init__(self, *, dead_letters: IDeadLetterSearch, repository: IRepository, edits: ILetterEdits) -> None:
        self._dead_letters = dead_letters
        self._repository = repository
        self._versions = LetterVersions(edits)

    async def of(self, letter_id: str) -> LetterView | None:
        """Return everything about the letter, None when there is none. Raises StoreUnavailableError."""
        letter = await self._dead_letters.get(letter_id)
        if letter is None:
            return None
        shipment, others = None, list[DeadLetterRecord]()
        if letter.order_id is not None:
            shipment = await self._repository.find_shipment(shipment_id_for(letter.order_id))
            found = self._dead_letters.search(Selection(order_id=letter.order_id), limit=_MAX_OTHERS)
            others = [other async for other in found if other.id != letter.id]
        return LetterView(
            letter=letter,
            shipment=shipment,
            versions=await self._versions.of(letter),
            replays=replays_of(letter),
            timeline=timeline(letter, shipment, others),
        )
