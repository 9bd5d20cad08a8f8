"""The dead letters: by what went wrong, and as a list that can be filtered, picked from and acted on."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fastapi import Request
from nicegui import ui

from infra.console.desk.desk import desk_of
from infra.console.desk.letters import LetterPage
from infra.console.pages import letter_actions as actions
from infra.console.pages.kit import Tag, button, chip, empty, link, on, table, when
from infra.console.pages.letter_filter import HOME, LetterFilter
from infra.console.pages.letter_groups import LetterGroups
from infra.console.pages.shell import Shell
from infra.console.pages.text import counted, failure
from infra.console.pages.words import LOOK, order_address, words
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterState, Selection

_A_PAGE = 50
_LOOK_EVERY = 0.25
_COLUMNS = ("Dead-lettered", "Order", "Reason|roomy", "Error", "Replays|num roomy")

Action = Callable[[Selection], Awaitable[None]]


@ui.page(HOME, response_timeout=10)
async def letters(request: Request) -> None:
    """Show the dead letters that the address asks for."""
    shell = Shell("Dead letters", desk_of(request), here=HOME)
    with shell.page():
        await _Letters(shell, LetterFilter.read(request.query_params)).show()


class _Letters:
    def __init__(self, shell: Shell, chosen: LetterFilter) -> None:
        self._shell = shell
        self._chosen = chosen

    async def show(self) -> None:
        page = await self._load()
        with Tag("div", classes="spread"):
            Tag("h1", "Dead letters")
            with Tag("div", classes="line"):
                self._news = button("The list has changed: show it anew", self.refresh, hidden=True)
                self._all = Tag("div", classes="line")
        with Tag("div", classes="card"):
            self._chosen.form()
        if "group" not in self._chosen.given and self._chosen.after is None:
            LetterGroups(self._shell, self._chosen)
        self._list = Tag("div", classes="card flush")
        self._fill(page)
        ui.timer(_LOOK_EVERY, self._look)

    async def refresh(self) -> None:
        """Show the list as it is now."""
        with self._shell.told():
            self._fill(await self._load())

    def _look(self) -> None:
        """Offer the list anew when letters came or went; nothing moves under the reader's hand by itself."""
        with self._shell.told():
            self._news.put(hidden=self._counts() == self._shown)

    def _counts(self) -> int:
        counts = self._shell.desk.system.live().overview.dead_letters or {}
        state = self._chosen.selection.state
        return sum(counts.values()) if state is None else counts.get(state, 0)

    async def _load(self) -> LetterPage:
        chosen = self._chosen
        return await self._shell.desk.letters.page(chosen.selection, limit=_A_PAGE, after=chosen.after)

    def _fill(self, page: LetterPage) -> None:
        self._shown = self._counts()
        self._news.put(hidden=True)
        self._all.clear()
        with self._all:
            self._for_all(page.total)
        self._list.clear()
        with self._list:
            if page.letters:
                self._for_picked()
                self._rows(page.letters)
                self._pager(page)
            else:
                self._nothing()

    def _for_all(self, total: int) -> None:
        Tag("span", f"{total:,} match", "soft")
        if not self._shell.may_operate or not total:
            return
        for text, look, action in self._actions():
            button(f"{text} all {total:,}", partial(action, self._chosen.selection), look)
        link("Export", self._chosen.export_address, "btn", download="dead-letters.jsonl")

    def _for_picked(self) -> None:
        if not self._shell.may_operate:
            return
        with Tag("div", classes="picked line", data_picked=True, hidden=True):
            Tag("strong", "", data_picked_count=True)
            for text, look, action in self._actions():
                made = Tag("button", text, f"btn {look}", type="button")
                on(made, "click", partial(_with_ids, action), "consolePicked()")

    def _actions(self) -> Sequence[tuple[str, str, Action]]:
        """Return what can be done with letters in the state that is shown: the word, its look, and the action."""
        state, shell = self._chosen.selection.state, self._shell
        replay = ("Replay", "main", lambda selection: actions.replay(shell, selection))
        discard = ("Discard", "", lambda selection: actions.discard(shell, selection, self.refresh))
        restore = ("Restore", "", lambda selection: actions.restore(shell, selection, self.refresh))
        if state is DeadLetterState.OPEN:
            return replay, discard
        return (restore,) if state is DeadLetterState.DISCARDED else ()

    def _rows(self, found: Sequence[DeadLetterRecord]) -> None:
        picks, states = self._shell.may_operate, self._chosen.selection.state is None
        columns = (*_COLUMNS, *(["State"] if states else []))
        with table("Dead letters", *columns, picks=picks, classes="folding") as body:
            for letter in found:
                _row(letter, picks=picks, states=states)
        if picks:
            body.client.run_javascript("consoleCount()")

    def _pager(self, page: LetterPage) -> None:
        with Tag("nav", classes="spread pager", aria_label="Parts of the list"):
            if self._chosen.after is not None:
                link("← Newest", self._chosen.address(), "btn")
            Tag("span", f"{counted(len(page.letters), 'dead letter')} of {page.total:,}", "soft small")
            if page.next is not None:
                link("Older →", self._chosen.beyond(page.next), "btn")

    def _nothing(self) -> None:
        if set(self._chosen.given) - {"state"}:
            empty("No dead letter matches", "Take a part of the filter away, or look at another state.")
        elif self._chosen.selection.state is DeadLetterState.OPEN:
            empty("No dead letter is open", "Every order that failed was sent again or set aside. Nothing to do here.")
        else:
            empty("None", f"No dead letter is {words(self._chosen.given.get('state', ''))}.")


async def _with_ids(action: Action, ids: Sequence[str]) -> None:
    await action(Selection(ids=tuple(ids)))


def _row(letter: DeadLetterRecord, *, picks: bool, states: bool) -> None:
    with Tag("tr", data_row=True):
        if picks:
            with Tag("td", classes="pick-cell"):
                Tag("input", classes="pick", type="checkbox", value=letter.id,
                    aria_label=f"Select {letter.order_id or letter.id}")  # fmt: skip
        with Tag("td", classes="tight side"), link(None, f"{HOME}/{letter.id}", "row"):
            when(letter.dead_lettered_at)
        with Tag("td", classes="tight lead"):
            if letter.order_id is not None:
                link(letter.order_id, order_address(letter.order_id))
            else:
                Tag("span", letter.trace_id, "soft clip-id", title="its trace ID: which order it is cannot be read")
        with Tag("td", classes="tight roomy"):
            chip(words(letter.reason))
        Tag("td", failure(letter.error_message), "clip under", title=letter.error_message)
        Tag("td", f"{letter.replay_count}" if letter.replay_count else "", "num roomy")
        if states:
            with Tag("td", classes="tight under"):
                chip(words(letter.state), LOOK.get(letter.state, ""))
