"""Lines of one character a point."""

import pytest

from worker.cli.sparkline import ASCII, sparkline


def test_nought_is_the_lowest_level_the_highest_point_the_highest_and_a_gap_is_empty() -> None:
    assert sparkline([0, None, 1, 4, 8], width=10) == "▁ ▂▅█"


def test_what_is_more_than_nought_never_looks_like_nought() -> None:
    assert sparkline([0, 0.001, 1000], width=10) == "▁▂█"


def test_nothing_but_noughts_is_a_low_line_and_nothing_known_an_empty_one() -> None:
    assert sparkline([0.0, 0.0], width=10) == "▁▁"
    assert sparkline([None, None], width=10) == "  "


def test_a_peak_is_seen_however_narrow_the_line_is() -> None:
    points = [1.0] * 120
    points[63] = 1000.0
    for width in (8, 37, 40, 119):
        line = sparkline(points, width=width)
        assert len(line) == width
        assert line.count("█") == 1


def test_a_stretch_with_a_point_in_it_is_no_gap() -> None:
    assert sparkline([None, 4, None, None], width=2) == "█ "


@pytest.mark.parametrize("levels", [ASCII, "ab"])
def test_other_characters_do_as_well(levels: str) -> None:
    line = sparkline([0, 5, 10], width=3, levels=levels)
    assert (line[0], line[-1]) == (levels[0], levels[-1])
    assert set(line) <= set(levels)
