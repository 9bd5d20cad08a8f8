"""What is wrong, a line each: times in the reader's zone, and the way to the page where something can be done."""

from collections.abc import Callable, Sequence
from datetime import datetime

from nicegui.element import Element

from infra.console.pages.kit import Live, Tag, link, when
from infra.console.pages.letter_filter import HOME as LETTERS
from infra.console.pages.text import iso
from infra.console.pages.words import words
from worker.problem import Problem, ProblemKind

_PLACES = {
    ProblemKind.HELD_BACK: ("Workers", "/workers"),
    ProblemKind.OPEN_CIRCUIT: ("Workers", "/workers"),
    ProblemKind.NOT_CONNECTED: ("Workers", "/workers"),
    ProblemKind.LOST_WORKERS: ("Workers", "/workers"),
    ProblemKind.STOPPED_REPLAY: ("See the replay", "/replays/{about}"),
    ProblemKind.OPEN_LETTERS: ("See them", LETTERS),
}
"""What the way there is called, and its address. Where there is none, the problem's own advice is shown."""


class ProblemLines:
    """The lines."""

    def __init__(self) -> None:
        self._lines = Live(Tag("ul", classes="problems"), _line)

    def show(self, found: Sequence[Problem]) -> None:
        """Show what is wrong now. A line stays the same element while only its numbers change."""
        self._lines.show({f"{one.kind} {one.about} {len(said(one))}": one for one in found})


def said(problem: Problem) -> list[str | datetime]:
    """Return a problem as people read it on a page: a whole sentence, and names without underscores."""
    plain = [word for word in problem.words if word]
    if problem.kind not in _PLACES and problem.advice:
        plain.append(f"; {problem.advice}")
    if problem.kind is ProblemKind.OPEN_LETTERS:  # nothing in it was written by others
        plain = [words(word) if isinstance(word, str) else word for word in plain]
    first = plain[0]
    if isinstance(first, str):
        plain[0] = f"{first[:1].upper()}{first[1:]}"
    return [*plain, "."]


def _line(problem: Problem) -> tuple[Element, Callable[[Problem], None]]:
    with Tag("li") as line:
        parts = [when(word) if isinstance(word, datetime) else Tag("span", word) for word in said(problem)]
        if problem.kind in _PLACES:
            name, address = _PLACES[problem.kind]
            link(name, address.format(about=problem.about), "act")

    def refresh(now: Problem) -> None:
        for part, word in zip(parts, said(now), strict=True):
            part.put(datetime=iso(word)) if isinstance(word, datetime) else part.say(word)

    return line, refresh
