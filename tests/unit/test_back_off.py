"""The pause before what has ended is started again."""

from hypothesis import given
from hypothesis import strategies as st

from worker.back_off import LIVED_WELL, BackOff


def test_each_early_end_doubles_the_pause_up_to_half_a_minute() -> None:
    back_off = BackOff(draw=lambda: 1.0)
    assert [back_off.after(0.1) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert back_off.ends == 9


def test_a_long_life_makes_up_for_all_early_ends() -> None:
    back_off = BackOff(draw=lambda: 1.0)
    for _ in range(5):
        back_off.after(1.0)
    assert back_off.after(LIVED_WELL) == 0.5
    assert back_off.ends == 1
    assert back_off.after(1.0) == 1.0


def test_half_of_the_pause_is_drawn_by_lot() -> None:
    draws = iter([0.0, 0.5, 1.0])
    back_off = BackOff(draw=lambda: next(draws))
    assert [back_off.after(LIVED_WELL) for _ in range(3)] == [0.25, 0.375, 0.5]


@given(st.lists(st.floats(0, 2 * LIVED_WELL), min_size=1, max_size=2000))
def test_however_often_and_soon_it_ends_the_pause_is_neither_nothing_nor_for_ever(lives: list[float]) -> None:
    back_off = BackOff()
    for lived in lives:
        assert 0.25 <= back_off.after(lived) <= 30.0
