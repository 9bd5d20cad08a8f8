"""How long to wait before what has ended is started again."""

import random
from collections.abc import Callable

LIVED_WELL = 60.0
"""Seconds after which an end counts as the first one again."""


class BackOff:
    """Doubles the pause with each early end, up to the longest; a long life makes up for all of them."""

    def __init__(self, *, first: float = 0.5, longest: float = 30.0, draw: Callable[[], float] = random.random) -> None:
        """`first`, `longest`: seconds. `draw` returns a number from 0 to 1."""
        self._first = first
        self._longest = longest
        self._draw = draw
        self.ends = 0
        """How many ends have followed on each other, none after a long life."""

    def after(self, lived: float) -> float:
        """Return how many seconds to wait now that one has ended that lived for `lived` seconds.

        Half of the pause is drawn by lot, so that many that ended together do not come back together.
        """
        self.ends = 1 if lived >= LIVED_WELL else self.ends + 1
        pause = min(self._first * 2.0 ** min(self.ends - 1, 50), self._longest)
        return pause * (1 + self._draw()) / 2
