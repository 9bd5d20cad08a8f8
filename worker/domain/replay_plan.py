"""What a replay would do, told before it is started."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterGroup, DeadLetterState


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """A dry run: what a job with this selection would do now."""

    groups: Sequence[DeadLetterGroup]
    """What would go out, by fingerprint, largest group first."""
    left_alone: Mapping[DeadLetterState, int]
    """How many of the selection are not open, by state: only open ones are replayed."""
    not_matching: int = 0
    """Letters that were named by id but do not match the other fields of the selection."""

    @property
    def total(self) -> int:
        """How many letters would go out."""
        return sum(group.count for group in self.groups)

    @property
    def by_reason(self) -> dict[str, int]:
        """How many would go out for each reason, most first."""
        counts: dict[str, int] = {}
        for group in self.groups:
            counts[group.reason] = counts.get(group.reason, 0) + group.count
        return dict(sorted(counts.items(), key=lambda entry: -entry[1]))

    @property
    def hopeless(self) -> int:
        """How many are malformed: as they are, they fail again unless what reads them has changed."""
        return self.by_reason.get(DeadLetterReason.MALFORMED, 0)

    @property
    def why_nothing(self) -> str:
        """Why it would have nothing to do, when nothing would go out."""
        others = ", ".join(f"{count:,} {state}" for state, count in self.left_alone.items())
        if others:
            return f"none of these dead letters is open ({others}): only open ones are replayed"
        return "no dead letter matches"
