"""The workers, live, and what an admin does to them by hand: hold back, let go, another prefetch, the circuit."""

from collections.abc import Callable, Sequence
from functools import partial

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from infra.console.desk.desk import desk_of
from infra.console.pages.kit import Live, Tag, button, chip, when
from infra.console.pages.shell import Shell
from infra.console.pages.text import iso
from infra.console.pages.words import WARN, words
from infra.console.pages.worker_actions import Hand
from infra.console.pages.worker_rows import WorkerRows
from worker.domain.controls import Wish
from worker.feed import LivePicture
from worker.worker_views import WorkerView

HOME = "/workers"
_EVERY = 0.25


@ui.page(HOME, response_timeout=10)
async def workers(request: Request) -> None:
    """Show the workers, and what is wished of them."""
    shell = Shell("Workers", desk_of(request), here=HOME)
    with shell.page():
        _Workers(shell)


class _Workers:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._hand = Hand(shell)
        self._number = 0
        with Tag("div", classes="spread"):
            Tag("h1", "Workers")
            if shell.may_administer:
                with Tag("div", classes="line"):
                    Tag("span", "All:", "soft")
                    self._buttons(None)
        with Tag("div", classes="card flush"):
            self._rows = WorkerRows(self._actions if shell.may_administer else None)
        with Tag("section", classes="card"):
            Tag("h2", "Held back by hand")
            self._none = Tag("p", "Nothing is: every worker does what its settings say.", "soft")
            self._wishes = Live(Tag("div", classes="reasons"), _wish)
        self._refresh()
        ui.timer(_EVERY, self._refresh)

    def _refresh(self) -> None:
        with self._shell.told():
            picture = self._shell.desk.system.live()
            if picture.number != self._number:
                self._number = picture.number
                self._show(picture)

    def _show(self, picture: LivePicture) -> None:
        self._rows.show(picture.overview.workers)
        control = picture.overview.control
        holding = [wish for wish in control.wishes if wish.holds_back] if control is not None else []
        self._none.put(hidden=bool(holding))
        self._wishes.show({f"{wish.kind} {wish.worker}": wish for wish in holding})

    def _actions(self, name: str) -> Callable[[WorkerView], None]:
        with Tag("div", classes="line tight-gap"):
            pause, resume, _, opened, reset = self._buttons([name])

        def refresh(worker: WorkerView) -> None:
            pause.put(hidden=worker.paused)
            resume.put(hidden=not worker.paused)
            opened.put(hidden=bool(worker.circuit_held_open))
            reset.put(hidden=not worker.circuit_held_open and worker.circuit == "closed")

        return refresh

    def _buttons(self, names: Sequence[str] | None) -> tuple[Tag, ...]:
        hand, look = self._hand, "" if names is None else "small"
        return (
            button("Pause", partial(hand.pause, names), look),
            button("Resume", partial(hand.resume, names), look),
            button("Prefetch", partial(hand.prefetch, names), look),
            button("Open circuit", partial(hand.open_circuit, names), look),
            button("Reset circuit", partial(hand.reset_circuit, names), look),
        )


def _wish(shown: Wish) -> tuple[Element, Callable[[Wish], None]]:
    with Tag("div", classes="line") as line:
        what = chip("", WARN)
        Tag("strong", shown.worker or "all workers, those that start later too", "mono")
        by = Tag("span", "")
        since = when(shown.since, "ago")
        why = Tag("span", "", "soft break")

    def refresh(now: Wish) -> None:
        what.say(f"{words(now.action)}{f' {now.prefetch:,}' if now.prefetch is not None else ''}")
        by.say(f"by {now.by}")
        since.put(datetime=iso(now.since))
        why.say(now.why)

    return line, refresh
