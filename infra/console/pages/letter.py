"""One dead letter in full: what it is, why it is one, what happened to it, and what can be done."""

from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from infra.console.api.filters import ALL
from infra.console.desk.desk import desk_of
from infra.console.pages import letter_actions as actions
from infra.console.pages.kit import Tag, Value, button, chip, facts, link, table, when
from infra.console.pages.letter_filter import HOME
from infra.console.pages.letter_message import message
from infra.console.pages.shell import Shell
from infra.console.pages.story import story
from infra.console.pages.text import UNKNOWN, size
from infra.console.pages.words import LOOK, WHY, named, order_address, words
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_story import OTHER
from worker.domain.letter_view import LetterView
from worker.domain.selection import DeadLetterState, Selection


@ui.page(f"{HOME}/{{letter_id}}", response_timeout=10)
async def letter(request: Request, letter_id: str) -> None:
    """Show one dead letter."""
    shell = Shell("Dead letter", desk_of(request), here=HOME)
    with shell.page():
        await _Letter(shell, letter_id).show()


class _Letter:
    def __init__(self, shell: Shell, letter_id: str) -> None:
        self._shell = shell
        self._id = letter_id

    async def show(self) -> None:
        """Show it as it is now."""
        view = await self._shell.desk.letters.show(self._id)
        self._shell.body.clear()
        with self._shell.body:
            self._head(view.letter)
            with Tag("div", classes="two"):
                with Tag("div", classes="stack"):
                    _failure(view.letter)
                    message(view, is_masked=self._shell.desk.letters.is_masked)
                    _replays(view)
                with Tag("div", classes="stack"):
                    _facts(view)
                    _story(view)

    def _head(self, letter: DeadLetterRecord) -> None:
        with Tag("div", classes="spread"):
            with Tag("div", classes="line"):
                link("Dead letters", HOME, "soft")
                Tag("span", "/", "soft", aria_hidden="true")
                Tag("h1", letter.order_id or f"Dead letter {letter.id[:8]}", "break")
                chip(words(letter.state), LOOK.get(letter.state, ""))
                chip(words(letter.reason))
            if self._shell.may_operate:
                with Tag("div", classes="line"):
                    self._buttons(letter)

    def _buttons(self, letter: DeadLetterRecord) -> None:
        shell, this = self._shell, Selection(ids=(letter.id,))
        if letter.state is DeadLetterState.OPEN:
            button("Replay", lambda: actions.replay(shell, this), "main")
            link("Edit and replay", f"{HOME}/{letter.id}/edit", "btn")
            button("Discard", lambda: actions.discard(shell, this, self.show))
        elif letter.state is DeadLetterState.DISCARDED:
            button("Restore", lambda: actions.restore(shell, this, self.show), "main")
        elif letter.state is DeadLetterState.REPLAYING:
            button("Give the replay up", lambda: actions.restore(shell, this, self.show))


def _failure(letter: DeadLetterRecord) -> None:
    with Tag("section", classes="card"):
        Tag("h2", "Why")
        Tag("p", letter.error_message, "break big")
        if letter.reason in WHY:
            Tag("p", f"{words(letter.reason).capitalize()}: {WHY[letter.reason]}.", "soft")
        if len(letter.error_chain) > 1:
            with Tag("details"):
                Tag("summary", f"Error chain ({len(letter.error_chain)})")
                with Tag("ol", classes="chain"):
                    for line in letter.error_chain:
                        Tag("li", line, "mono break")


def _facts(view: LetterView) -> None:
    letter, shipment = view.letter, view.shipment
    pairs: dict[str, Value] = {
        "Dead-lettered": lambda: when(letter.dead_lettered_at),
        "First failed": lambda: when(letter.first_failed_at),
        "Attempts": f"{len(letter.attempts)}",
        "Replays that failed": f"{letter.replay_count}",
        "Group": lambda: link(letter.fingerprint, f"{HOME}?group={letter.fingerprint}", "mono"),
        "Came from": f"{letter.origin_exchange or '(default exchange)'} · {letter.origin_routing_key}",
        "Trace ID": letter.trace_id,
        "Dead letter ID": lambda: Tag("span", letter.id, "mono"),
    }
    if letter.order_id is not None:
        order_id = letter.order_id
        pairs = {"Order": lambda: link(order_id, order_address(order_id)), **pairs}
    if shipment is not None:
        pairs |= {
            "Shipment": lambda: chip(words(shipment.status.lower()), LOOK.get(shipment.status, "")),
            "Destination": shipment.destination,
        }
    if letter.expires_at is not None:
        expires_at = letter.expires_at
        pairs["Goes for good"] = lambda: when(expires_at)
    with Tag("section", classes="card"):
        facts(pairs)


def _story(view: LetterView) -> None:
    own = [entry for entry in view.timeline if entry.of != OTHER]
    with Tag("section", classes="card"):
        Tag("h2", "What happened")
        story(own)
        if len(own) < len(view.timeline):
            with Tag("p", "This order has other dead letters: ", "small"):
                link("see all of them", f"{HOME}?{urlencode({'state': ALL, 'order_id': view.letter.order_id})}")


def _replays(view: LetterView) -> None:
    if view.replays:
        with Tag("section", classes="card flush"):
            Tag("h2", "Replays")
            with table("Replays", "When", "By", "Outcome", "Taken by|roomy", "Body|roomy"):
                for replay in reversed(view.replays):
                    with Tag("tr"):
                        with Tag("td", classes="tight"):
                            when(replay.at)
                        Tag("td", replay.by or UNKNOWN)
                        Tag(
                            "td",
                            f"{words(replay.outcome)}{f': {named(replay.error)}' if replay.error else ''}",
                            "break",
                        )
                        Tag("td", replay.taken_by or UNKNOWN, "roomy")
                        Tag("td", f"version {replay.version}", "tight roomy")
    if len(view.versions) > 1:
        with Tag("section", classes="card flush"):
            Tag("h2", "Bodies it has had")
            with table("Versions", "Version", "When", "By", "Why", "Size|num roomy"):
                for version in view.versions:
                    with Tag("tr"):
                        Tag("td", f"{version.number}")
                        with Tag("td", classes="tight"):
                            when(version.at)
                        Tag("td", version.by or "as it came")
                        Tag("td", version.why or "", "break")
                        Tag("td", size(version.size), "num roomy")
