"""Lines of one character a point, for terminals."""

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"
GAP = " "


def sparkline(points: Sequence[float | None], *, width: int, levels: str = BLOCKS) -> str:
    """Return at most `width` characters, the newest last: each the highest of the points it stands for.

    The lowest level is nought and nothing else, the highest the highest point there is; a gap stays empty.
    """
    heights = _squeezed(points, width)
    highest = max((height for height in heights if height is not None), default=0.0)
    return "".join(GAP if height is None else _level(height, highest, levels) for height in heights)


def _squeezed(points: Sequence[float | None], width: int) -> list[float | None]:
    if len(points) <= width:
        return list(points)
    edges = [len(points) * number // width for number in range(width + 1)]
    stretches = (points[start:end] for start, end in pairwise(edges))
    return [max((point for point in stretch if point is not None), default=None) for stretch in stretches]


def _level(height: float, highest: float, levels: str) -> str:
    if height <= 0:
        return levels[0]
    return levels[min(1 + int(height / highest * (len(levels) - 1)), len(levels) - 1)]
