"""What a replay would do, did, and came to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterState


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """The letters of one fingerprint that a replay would send."""

    fingerprint: str
    reason: str
    error_type: str
    error_message: str
    """Of the newest letter."""
    count: int


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """A dry run: what a replay of a selection would do now."""

    ids: tuple[str, ...]
    """The letters that would go out, oldest first."""
    groups: tuple[PlannedGroup, ...]
    """The same letters by fingerprint, largest group first."""
    left_alone: Mapping[DeadLetterState, int]
    """How many of the selection are not open, by state."""
    not_matching: int = 0
    """Letters that were named by id but do not match the other fields of the selection."""

    @property
    def by_reason(self) -> dict[str, int]:
        """How many would go out for each reason, most first."""
        counts: Counter[str] = Counter()
        for group in self.groups:
            counts[group.reason] += group.count
        return dict(counts.most_common())


class ReplayResult(StrEnum):
    """What became of the sending of one letter."""

    SENT = "sent"
    FAILED = "failed"
    """The copy did not go out; the letter is open, or will be after a minute where the store was not reached."""
    SKIPPED = "skipped"
    """It was not open any more."""
    UNKNOWN = "unknown"
    """The copy may have gone out. The worker reopens the letter after a minute unless its order ships before."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One letter of a replay."""

    letter_id: str
    result: ReplayResult
    replay_id: str | None = None
    why: str | None = None
    """A sentence, where it was not sent."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did."""

    letters: tuple[Replayed, ...] = ()
    """In the order they were done with."""
    not_tried: int = 0
    """Letters it did not come to, because it stopped early."""
    stopped: str | None = None
    """Why it stopped early."""

    @property
    def sent(self) -> dict[str, str]:
        """The replay id of each letter that was sent."""
        return {
            letter.letter_id: letter.replay_id
            for letter in self.letters
            if letter.result is ReplayResult.SENT and letter.replay_id is not None
        }

    def count(self, result: ReplayResult) -> int:
        """Return how many letters had this result."""
        return sum(letter.result is result for letter in self.letters)


class ReplayOutcome(StrEnum):
    """What became of a copy that was sent."""

    RESOLVED = "resolved"
    FAILED_AGAIN = "failed_again"
    ON_ITS_WAY = "on_its_way"


def outcome_of(letter: DeadLetterRecord, replay_id: str) -> ReplayOutcome:
    """Return what became of this replay of the letter."""
    if letter.state is DeadLetterState.RESOLVED:
        return ReplayOutcome.RESOLVED
    if any(event.event == "failed_again" and event.replay_id == replay_id for event in letter.history):
        return ReplayOutcome.FAILED_AGAIN
    return ReplayOutcome.ON_ITS_WAY
