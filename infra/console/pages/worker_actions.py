"""What is done to workers by hand. Each asks why, and tells who has carried it out."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from nicegui import ui

from infra.console.pages.dialogs import ask
from infra.console.pages.kit import Tag
from infra.console.pages.shell import Shell
from infra.console.pages.text import counted
from worker.domain.controls import MAX_PREFETCH, Wishes

Action = Callable[..., Awaitable[Wishes]]
Names = Sequence[str] | None
"""Workers by name; None: all of them, those that start later included."""

_MEANS = {
    "Pause": "They finish what they have in hand and take no more orders; delivery notices and dead letters go on.",
    "Resume": "They take orders again, few at first.",
    "Open circuit": "They ask the supplier for nothing more, and orders wait, until the circuit is reset.",
    "Reset circuit": "They ask the supplier again at once, without a probe. It opens by itself when that fails.",
}


class Hand:
    """The hand on the workers."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._desk = shell.desk.workers

    async def pause(self, names: Names) -> None:
        """Let them take no more orders."""
        await self._do("Pause", names, self._desk.pause, why_needed=True)

    async def resume(self, names: Names) -> None:
        """Let them take orders again."""
        await self._do("Resume", names, self._desk.resume)

    async def open_circuit(self, names: Names) -> None:
        """Ask the supplier for nothing more."""
        await self._do("Open circuit", names, self._desk.open_circuit, why_needed=True)

    async def reset_circuit(self, names: Names) -> None:
        """Close the circuit."""
        await self._do("Reset circuit", names, self._desk.reset_circuit)

    async def prefetch(self, names: Names) -> None:
        """Have them handle so many orders at once."""
        with self._shell.told():
            given: dict[str, float | None] = {"orders": None}

            def about() -> None:
                Tag("p", "How many orders one worker handles at once. Left empty: what its own setting says.", "soft")
                number = ui.number("Orders at once", min=1, max=MAX_PREFETCH, precision=0).bind_value(given, "orders")
                number.props("outlined dense")

            why = await ask(_title("Prefetch", names), "Set", about=about, why_needed=False)
            if why is not None:
                wanted = given["orders"]
                prefetch = None if wanted is None else int(wanted)
                await self._tell(await self._desk.set_prefetch(names, prefetch, why=why), names)

    async def _do(self, verb: str, names: Names, action: Action, *, why_needed: bool = False) -> None:
        with self._shell.told():
            about = partial(Tag, "p", _MEANS[verb], "soft")
            why = await ask(_title(verb, names), verb, about=about, why_needed=why_needed)
            if why is not None:
                await self._tell(await action(names, why=why), names)

    async def _tell(self, wishes: Wishes, names: Names) -> None:
        answers = await self._desk.answers(wishes.revision, names)
        late = (
            f"; not yet by {', '.join(answers.silent)}: they do it as soon as they read MongoDB"
            if answers.silent
            else ""
        )
        self._shell.say(f"Carried out by {counted(len(answers.done), 'worker')}{late}.")


def _title(verb: str, names: Names) -> str:
    return f"{verb}: {'all workers' if names is None else ', '.join(names)}"
