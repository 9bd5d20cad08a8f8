"""What is wished of the workers, and what each is to do by it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.controls import NO_WISHES, Control, ControlAction, Wish, Wishes, checked_prefetch
from worker.domain.errors import ControlRefusedError

NOW = datetime(2026, 3, 1, 12, 3, tzinfo=UTC)
PAUSE, RESUME, PREFETCH = ControlAction.PAUSE, ControlAction.RESUME, ControlAction.PREFETCH
OPEN, RESET = ControlAction.OPEN_CIRCUIT, ControlAction.RESET_CIRCUIT
KNOWN = ("a", "b", "c")


def after(*said: tuple[ControlAction, str | None] | tuple[ControlAction, str | None, int | None]) -> Wishes:
    """The wishes after these words: what, to whom (`a b`; None: the fleet), and the prefetch."""
    wishes = NO_WISHES
    for number, (action, whom, *prefetch) in enumerate(said):
        wish = Wish(action, None, f"operator {number}", "why", NOW, prefetch=prefetch[0] if prefetch else None)
        wishes = wishes.with_wish(wish, workers=whom.split() if whom else None, known=KNOWN)
    return wishes


def paused(wishes: Wishes) -> str:
    return " ".join(name for name in KNOWN if wishes.for_worker(name).paused)


def prefetches(wishes: Wishes) -> list[int | None]:
    controls = [wishes.for_worker(name) for name in KNOWN]
    return [control.prefetch.prefetch if control.prefetch else None for control in controls]


def test_nobody_is_held_back_where_nothing_is_wished() -> None:
    assert NO_WISHES.for_worker("a") == Control()


@pytest.mark.parametrize(
    ("said", "whom"),
    [
        ([(PAUSE, None)], "a b c"),
        ([(PAUSE, "b")], "b"),
        ([(PAUSE, "a c")], "a c"),
        ([(PAUSE, None), (RESUME, None)], ""),
        ([(PAUSE, None), (RESUME, "b")], "a c"),
        ([(PAUSE, None), (RESUME, "b"), (PAUSE, "b")], "a b c"),
        ([(PAUSE, None), (RESUME, "b"), (PAUSE, None)], "a b c"),
        ([(PAUSE, "b"), (RESUME, None)], ""),
        ([(PAUSE, "b"), (PAUSE, None), (RESUME, None)], ""),
        ([(RESUME, "b"), (PAUSE, None)], "a b c"),
        ([(PAUSE, "b"), (PREFETCH, None, 5)], "b"),
    ],
)
def test_a_worker_s_own_wish_counts_before_the_fleet_s_and_a_newer_one_of_the_fleet_takes_its_place(
    said: list[tuple[ControlAction, str | None]], whom: str
) -> None:
    assert paused(after(*said)) == whom


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(PREFETCH, None, 5)], [5, 5, 5]),
        ([(PREFETCH, None, 5), (PREFETCH, "a", 9)], [9, 5, 5]),
        ([(PREFETCH, None, 5), (PREFETCH, "a", None)], [None, 5, 5]),
        ([(PREFETCH, "a", 5), (PREFETCH, None, None)], [None, None, None]),
        ([(PREFETCH, "a", 5), (PAUSE, None), (RESUME, None)], [5, None, None]),
    ],
)
def test_the_same_goes_for_the_prefetch_and_none_is_the_worker_s_own(
    said: list[tuple[ControlAction, str | None, int | None]], expected: list[int | None]
) -> None:
    assert prefetches(after(*said)) == expected


def test_the_circuit_is_held_open_until_a_newer_wish_resets_it_once() -> None:
    opened = after((OPEN, None), (PAUSE, None))
    assert [(opened.for_worker(name).open_circuit is not None, opened.for_worker(name).reset) for name in KNOWN] == [
        (True, 0)
    ] * 3
    one_closed = after((OPEN, None), (RESET, "b"))
    assert [one_closed.for_worker(name).open_circuit is None for name in KNOWN] == [False, True, False]
    assert [one_closed.for_worker(name).reset for name in KNOWN] == [0, 2, 0]
    closed = after((OPEN, "a"), (RESET, None), (PAUSE, None))
    assert [(closed.for_worker(name).open_circuit, closed.for_worker(name).reset) for name in KNOWN] == [(None, 2)] * 3


def test_a_fleet_s_wish_holds_for_a_worker_that_nobody_has_seen_yet() -> None:
    assert after((PAUSE, None)).for_worker("new").paused is not None
    assert after((PAUSE, "a")).for_worker("new").paused is None


@pytest.mark.parametrize("hours", [-48, 0, 48])
def test_the_later_wish_counts_whatever_the_operators_clocks_say(hours: int) -> None:
    pause = Wish(PAUSE, None, "ann", "", NOW)
    resume = Wish(RESUME, None, "ben", "", NOW + timedelta(hours=hours))
    for whom in (None, ["a"]):
        paused_first = NO_WISHES.with_wish(pause, workers=None, known=KNOWN)
        resumed_first = NO_WISHES.with_wish(resume, workers=None, known=KNOWN)
        assert paused_first.with_wish(resume, workers=whom, known=KNOWN).for_worker("a").paused is None
        assert resumed_first.with_wish(pause, workers=whom, known=KNOWN).for_worker("a").paused is not None


def test_every_change_is_a_new_revision_and_a_wish_says_in_which_it_came() -> None:
    wishes = after((PAUSE, None), (PREFETCH, "a b", 5))
    assert wishes.revision == 2
    assert [(wish.action, wish.worker, wish.revision, wish.by) for wish in wishes.wishes] == [
        (PAUSE, None, 1, "operator 0"),
        (PREFETCH, "a", 2, "operator 1"),
        (PREFETCH, "b", 2, "operator 1"),
    ]
    assert wishes.for_worker("c").revision == 2


def test_a_worker_named_twice_has_one_wish() -> None:
    assert len(after((PAUSE, "a a a")).wishes) == 1


def test_the_wishes_do_not_grow_with_what_is_said_nor_with_workers_that_are_gone() -> None:
    wishes = NO_WISHES
    for number in range(5000):
        name = f"vm-{number}"
        wish = Wish(PAUSE if number % 2 else RESUME, None, "anna", "x" * 100_000, NOW)
        wishes = wishes.with_wish(wish, workers=[name], known=[name, f"vm-{number - 1}"])
        wishes = wishes.with_wish(wish, workers=None if number % 3 else [name], known=[name, f"vm-{number - 1}"])
    assert wishes.revision == 10_000
    assert len(wishes.wishes) <= 3
    assert max(len(wish.why) for wish in wishes.wishes) == 300


def test_a_worker_called_like_anything_else_is_only_a_name() -> None:
    for name in ("", "all", "*", "None", "$set", "a.b", "\x00", "fleet"):
        wishes = NO_WISHES.with_wish(Wish(PAUSE, None, "anna", "", NOW), workers=[name], known=[name])
        assert [wish.worker for wish in wishes.wishes] == [name]
        assert wishes.for_worker(name).paused is not None
        assert wishes.for_worker("other").paused is None


def test_the_wishes_after_one_more_leave_those_before_as_they_were() -> None:
    before = after((PAUSE, "a"))
    copied = replace(before)
    before.with_wish(Wish(RESUME, None, "ben", "", NOW), workers=None, known=KNOWN)
    assert before == copied


@pytest.mark.parametrize("prefetch", [0, -1, 10_001])
def test_a_prefetch_that_no_worker_can_have_is_refused(prefetch: int) -> None:
    with pytest.raises(ControlRefusedError, match="1 to 10000"):
        checked_prefetch(prefetch)


def test_any_other_is_taken() -> None:
    assert [checked_prefetch(number) for number in (1, 10_000, None)] == [1, 10_000, None]
