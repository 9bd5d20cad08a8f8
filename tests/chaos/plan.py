"""The plan of a run: which faults strike together, for how long. It follows from the seed alone."""

from dataclasses import dataclass
from random import Random

from tests.chaos.faults import FAULTS

_MOST_TOGETHER = 5
_SHORTEST, _LONGEST = 0.5, 6.0


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault."""

    kind: str
    after: float
    """Seconds after the storm's beginning."""
    lasts: float
    """Seconds."""
    seed: int
    """For whom it strikes."""


@dataclass(frozen=True, slots=True)
class Storm:
    """Faults that strike together."""

    strikes: tuple[Strike, ...]

    @property
    def lasts(self) -> float:
        """Seconds from the first strike to the last healing, at the least."""
        return max(strike.after + strike.lasts for strike in self.strikes)

    def __str__(self) -> str:
        return " + ".join(strike.kind for strike in self.strikes)


def plan(seed: int, *, faults: int) -> list[Storm]:
    """Return storms with so many faults in all; every kind comes before any comes again."""
    random = Random(seed)
    kinds: list[str] = []
    while len(kinds) < faults:
        kinds += random.sample(list(FAULTS), k=len(FAULTS))
    waiting, storms = kinds[:faults], []
    while waiting:
        together = _together(waiting, most=random.randint(1, _MOST_TOGETHER))
        for kind in together:
            waiting.remove(kind)
        storms.append(Storm(tuple(_strike(kind, random) for kind in together)))
    return storms


def _together(waiting: list[str], *, most: int) -> list[str]:
    """Return the first few that strike different parts."""
    together: dict[str, str] = {}
    for kind in waiting:
        if len(together) < most:
            together.setdefault(FAULTS[kind][0], kind)
    return list(together.values())


def _strike(kind: str, random: Random) -> Strike:
    return Strike(
        kind=kind,
        after=round(random.uniform(0, 1.5), 2),
        lasts=round(random.uniform(_SHORTEST, _LONGEST), 2),
        seed=random.getrandbits(32),
    )
