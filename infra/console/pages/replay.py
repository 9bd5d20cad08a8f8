"""One replay job, live: how far it is, why it stopped, and the hand on it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from infra.console.desk.desk import desk_of
from infra.console.pages.dialogs import ask
from infra.console.pages.job_meter import Meter, counts, in_words, show_state
from infra.console.pages.job_troubles import Troubles
from infra.console.pages.kit import Live, Tag, button, chip, facts, link, when
from infra.console.pages.replays import HOME
from infra.console.pages.shell import Shell
from infra.console.pages.text import rate, span
from worker.domain.replay_job import CANCELLABLE, RESUMABLE, RUNNING, JobState
from worker.domain.replay_jobs import MAX_RATE, ReplayProgress
from worker.domain.selection_words import in_words as selection_in_words

_EVERY = 0.5
_SLOWLY = 5.0

Change = Callable[..., Awaitable[None]]


@ui.page(f"{HOME}/{{job_id}}", response_timeout=10)
async def replay(request: Request, job_id: str) -> None:
    """Show one job."""
    shell = Shell(f"Replay {job_id}", desk_of(request), here=HOME)
    with shell.page():
        _Job(shell, await shell.desk.replays.show(job_id))


class _Job:
    def __init__(self, shell: Shell, progress: ReplayProgress) -> None:
        self._shell = shell
        self._id = progress.job.id
        self._head()
        with Tag("section", classes="card stack snug", aria_live="off"):
            with Tag("div", classes="spread"):
                self._sum = Tag("strong", "", "big")
                self._pace = Tag("span", "", "soft")
            self._meter = Meter()
            with Tag("div", classes="line") as line:
                self._counts = Live(line, _count)
            self._because = Tag("p", "", "break")
        with Tag("div", classes="two"):
            self._troubles = Troubles(shell, self._id)
            with Tag("section", classes="card"):
                _facts(progress)
        self._show(progress)
        self._timer = ui.timer(_EVERY, self._refresh)

    def _head(self) -> None:
        with Tag("div", classes="spread"):
            with Tag("div", classes="line"):
                link("Replays", HOME, "soft")
                Tag("span", "/", "soft", aria_hidden="true")
                Tag("h1", self._id)
                self._state = chip("")
            desk = self._shell.desk.replays
            with Tag("div", classes="line", hidden=not self._shell.may_operate):
                with Tag("form", classes="line") as self._rate_form:
                    self._rate = ui.number("A second", min=0.1, max=MAX_RATE).props("outlined dense").classes("rate")
                    button("Set", self._set_rate)
                self._rate_form.on("submit.prevent", self._set_rate)
                self._pause = self._button("Pause", desk.pause)
                self._resume = self._button("Resume", desk.resume, "main")
                self._cancel = self._button("Cancel", desk.cancel, "danger")

    def _button(self, verb: str, change: Change, look: str = "") -> Tag:
        async def go() -> None:
            with self._shell.told():
                why = await ask(f"{verb} this replay?", f"{verb} it", look=look or "main", why_needed=False,
                                about=lambda: Tag("p", _MEANS[verb], "soft"))  # fmt: skip
                if why is not None:
                    await change(self._id, why=why)
                    await self._refresh()

        return button(verb, go, look)

    async def _set_rate(self) -> None:
        if self._rate.value:
            with self._shell.told():
                await self._shell.desk.replays.set_rate(self._id, float(self._rate.value), why="")
                self._shell.say(f"At most {rate(float(self._rate.value))} a second from now on.")

    async def _refresh(self) -> None:
        with self._shell.told():
            progress = await self._shell.desk.replays.show(self._id)
            self._show(progress)
            await self._troubles.refresh(progress)
            self._timer.interval = _SLOWLY if progress.job.is_over else _EVERY

    def _show(self, progress: ReplayProgress) -> None:
        job = progress.job
        show_state(self._state, job)
        self._sum.say(in_words(progress))
        self._pace.say(_pace(progress))
        self._meter.show(progress)
        self._counts.show(counts(progress))
        stands = job.because or job.note or _STANDS.get(job.state, "")
        self._because.say(stands).look(f"break {'bad' if job.state is JobState.STOPPED else 'soft'}")
        self._rate_form.put(hidden=job.is_over)
        if self._rate.value is None:
            self._rate.value = job.options.rate
        self._pause.put(hidden=job.state not in RUNNING)
        self._resume.put(hidden=job.state not in RESUMABLE)
        self._cancel.put(hidden=job.state not in CANCELLABLE)


_MEANS = {
    "Pause": "Nothing more goes out until it is resumed; what is out comes to its end.",
    "Resume": "It begins slowly again; one that stopped by itself sends a few first, alone. "
    "What failed is no part of it any more: that goes into a new job.",
    "Cancel": "What has gone out stays out, the rest stays open. This cannot be taken back: a new replay can be begun.",
}
_STANDS = {
    JobState.SELECTING: "The letters are being written down.",
    JobState.CANARY: "The first are out, alone: the others follow when those are shipped.",
    JobState.RAMP: "The first were shipped; the others follow, ever faster.",
    JobState.SETTLING: "Everything is out; waiting for the last outcomes.",
    JobState.DONE: "Everything has come to its end.",
}


def _count(item: tuple[str, str]) -> tuple[Element, Callable[[tuple[str, str]], None]]:
    made = chip("")

    def refresh(now: tuple[str, str]) -> None:
        made.say(now[0]).look(f"chip {now[1]}".strip())

    del item
    return made, refresh


def _pace(progress: ReplayProgress) -> str:
    if not progress.rate or progress.all_sent_at is None:
        return ""
    left = max((progress.all_sent_at - datetime.now(UTC)).total_seconds(), 0.0)
    return f"{rate(progress.rate)} a second now, all sent in {span(left)}"


def _facts(progress: ReplayProgress) -> None:
    job, options = progress.job, progress.job.options
    facts(
        {
            "Which": selection_in_words(job.selection),
            "By": job.by,
            "Why": job.why,
            "Begun": lambda: when(job.created_at),
            "First, alone": f"{options.canary}" if options.canary else "none",
            "Stops when": f"more than {options.stop_share:.0%} of the last 100 fail in the same way",
            "What was done": lambda: link("audit log", f"/audit?job_id={job.id}"),
        }
    )
