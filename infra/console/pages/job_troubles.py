"""The letters of a replay job that have not ended well, or not yet."""

from collections.abc import Callable

from nicegui.element import Element

from infra.console.pages.job_meter import counts
from infra.console.pages.kit import Live, Tag, chip, link, table
from infra.console.pages.letter_filter import HOME as LETTERS
from infra.console.pages.shell import Shell
from infra.console.pages.words import LOOK, words
from worker.domain.replay_job import ReplayItem
from worker.domain.replay_jobs import ReplayProgress

_SHOWN = 50


class Troubles:
    """The list; read anew only when the counts have changed."""

    def __init__(self, shell: Shell, job_id: str) -> None:
        self._shell = shell
        self._job_id = job_id
        self._seen: object = None
        with Tag("section", classes="card flush"):
            Tag("h2", "Not resolved")
            self._none = Tag("p", "All that came to an end were.", "soft padded")
            with table("Not resolved", "Dead letter", "What", "Why") as body:
                self._rows = Live(body, _row)

    async def refresh(self, progress: ReplayProgress) -> None:
        """Show the list as it is now."""
        seen = counts(progress)
        if seen != self._seen:
            self._seen = seen
            items = await self._shell.desk.replays.troubled(self._job_id, limit=_SHOWN)
            self._none.put(hidden=bool(items))
            self._rows.show({item.letter_id: item for item in items})


def _row(item: ReplayItem) -> tuple[Element, Callable[[ReplayItem], None]]:
    with Tag("tr", data_row=True) as row:
        with Tag("td", classes="tight"):
            link(item.letter_id[:8], f"{LETTERS}/{item.letter_id}", "row mono")
        with Tag("td", classes="tight"):
            what = chip("")
        why = Tag("td", "", "break")

    def refresh(now: ReplayItem) -> None:
        what.say(words(now.state)).look(f"chip {LOOK.get(now.state, '')}".strip())
        why.say(now.why or "")

    return row, refresh
