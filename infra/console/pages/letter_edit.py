"""Edit and replay: a dead letter is corrected, checked while one types, and goes out as one copy."""

from collections.abc import Iterator

from fastapi import Request
from nicegui import ui

from infra.console.access.roles import Role
from infra.console.desk.desk import desk_of
from infra.console.pages.dialogs import ask
from infra.console.pages.edit_fields import EditFields
from infra.console.pages.kit import Tag, button, link
from infra.console.pages.letter_filter import HOME
from infra.console.pages.shell import Shell
from infra.console.pages.words import WHY, words
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.edit import Edit, EditReport, EditResult
from worker.domain.errors import EditConflictError, EditRefusedError
from worker.domain.letter_story import ReplayEnd
from worker.domain.replay import Origin

_MAX_LINES = 400


@ui.page(f"{HOME}/{{letter_id}}/edit", response_timeout=10)
async def edit_letter(request: Request, letter_id: str) -> None:
    """Show the form to edit a dead letter with."""
    desk = desk_of(request)
    shell = Shell("Edit and replay", desk, here=HOME)
    with shell.page():
        desk.visitor.require(Role.OPERATOR)
        view = await desk.letters.show(letter_id)
        _Editor(shell, view.letter).show()


class _Editor:
    def __init__(self, shell: Shell, letter: DeadLetterRecord) -> None:
        self._shell = shell
        self._letter = letter
        self._edit: Edit | None = None
        self._checks = 0

    def show(self) -> None:
        letter = self._letter
        with Tag("div", classes="line"):
            link("Dead letters", HOME, "soft")
            Tag("span", "/", "soft", aria_hidden="true")
            link(letter.order_id or letter.id[:8], f"{HOME}/{letter.id}", "soft")
            Tag("span", "/", "soft", aria_hidden="true")
            Tag("h1", "Edit and replay")
        Tag("p", f"{words(letter.reason).capitalize()}: {WHY.get(letter.reason, letter.error_message)}.", "soft")
        with Tag("div", classes="two even"):
            with Tag("div", classes="stack"):
                self._fields = EditFields(letter, self._shell.desk.edits.origin(letter), self._check)
            with Tag("section", classes="card"):
                Tag("h2", "What changes")
                self._verdict = Tag("p", "Nothing yet.", "soft", role="status")
                self._diff = Tag("div", classes="diff", hidden=True, tabindex="0", role="region", aria_label="Changes")
                with Tag("div", classes="line end spaced"):
                    link("Cancel", f"{HOME}/{letter.id}", "btn")
                    self._send = button("Send as one copy", self._go, "main", disabled=True)

    async def _check(self) -> None:
        """Say what the edit would change, or why it cannot go out."""
        letter = self._letter
        self._edit = None
        self._checks = this = self._checks + 1
        try:
            wanted = self._fields.wanted()
            if not wanted:
                self._tell("Nothing yet.", "soft", [])
                return
            edit = await self._shell.desk.edits.prepare(letter.id, revision=letter.revision, **wanted)
            if this == self._checks:  # else something was typed meanwhile, and is being checked
                self._edit = edit
                self._tell("Valid: it can go out.", "good", list(changes(edit)))
        except EditRefusedError as error:
            self._tell(str(error), "bad", [])
        except EditConflictError as error:
            self._tell(f"{error}. What you typed stays here.", "bad", [])
        finally:
            self._send.put(disabled=self._edit is None)

    def _tell(self, verdict: str, look: str, lines: list[str]) -> None:
        self._verdict.say(verdict).look(f"{look} break")
        self._diff.put(hidden=not lines)
        self._diff.clear()
        with self._diff:
            for line in lines[:_MAX_LINES]:
                Tag("div", line, {"+": "plus", "-": "minus"}.get(line[:1], ""))

    async def _go(self) -> None:
        edit = self._edit
        if edit is None:
            return
        with self._shell.told():
            where = _place(edit.origin)
            why = await ask("Send the edited copy?", "Send", about=lambda: Tag("p", f"One copy goes to {where}. The "
                "body it has now is kept.", "soft"))  # fmt: skip
            if why is not None:
                self._sent(await self._shell.desk.edits.send(edit, why=why))

    def _sent(self, report: EditReport) -> None:
        self._edit = None
        self._send.put(disabled=True)
        if report.result is not EditResult.SENT:
            self._tell(f"{words(report.result).capitalize()}: {report.why}.", "bad", [])
            return
        self._tell(f"Sent as version {report.version}: waiting for what becomes of it …", "warn", [])
        waiting = ui.timer(1.0, lambda: self._look(report.replay_id, waiting))

    async def _look(self, replay_id: str, waiting: ui.timer) -> None:
        with self._shell.told():
            found = await self._shell.desk.edits.outcome(self._letter.id, replay_id)
            if found is None or found.outcome is ReplayEnd.ON_ITS_WAY:
                return
            waiting.cancel()
            if found.outcome is ReplayEnd.RESOLVED:
                self._tell("Resolved: the order was shipped.", "good", [])
            else:
                self._tell(f"{words(found.outcome).capitalize()}: {found.error or 'the letter is open'}.", "bad", [])


def changes(edit: Edit) -> Iterator[str]:
    """Tell what an edit changes, as lines of a difference."""
    body = [line for line in edit.body_changes if not line.startswith(("---", "+++", "@@"))]
    if edit.after.body != edit.before.body:
        yield from body or ["only white space changes"]
    for name, (before, after) in edit.header_changes.items():
        yield from (f"{sign} {name}: {value}" for sign, value in (("-", before), ("+", after)) if value is not None)
    if edit.origin != edit.usual_origin:
        yield f"- to {_place(edit.usual_origin)}"
        yield f"+ to {_place(edit.origin)}"


def _place(origin: Origin) -> str:
    return f"{origin.exchange or '(default exchange)'} · {origin.routing_key}"
