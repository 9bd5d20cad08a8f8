"""How long things took, kept as a few numbers that can be added up: a histogram with steps of the square root of 2.

A percentile read from it is off by a fifth at most.
"""

import math
from collections.abc import Mapping

Times = Mapping[int, int]
"""How many took so long, by step; steps that nothing fell into are left out."""

_SHORTEST = 0.005
STEPS = 55
"""The last one holds what took 5.5 days and longer."""


def step_of(seconds: float) -> int:
    """Return the step that a time falls into."""
    if seconds <= _SHORTEST:
        return 0
    return min(math.ceil(2 * math.log2(seconds / _SHORTEST)), STEPS - 1)


def percentile(times: Times, share: float) -> float | None:
    """Return the time in seconds within which this share (0 to 1) was done; None when nothing was counted."""
    rank = share * sum(times.values())
    for step in sorted(times):
        number = times[step]
        if number and rank <= number:
            shortest, longest = _longest(step - 1) if step else 0.0, _longest(step)
            return shortest + (longest - shortest) * rank / number
        rank -= number
    return None


def _longest(step: int) -> float:
    return _SHORTEST * math.sqrt(2) ** step
