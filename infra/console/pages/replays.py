"""The replay jobs, the newest first."""

from collections.abc import Callable, Sequence

from fastapi import Request
from nicegui import ui
from nicegui.element import Element

from infra.console.desk.desk import desk_of
from infra.console.pages.job_meter import Meter, in_words, show_state
from infra.console.pages.kit import Live, Tag, chip, empty, link, table, when
from infra.console.pages.letter_filter import HOME as LETTERS
from infra.console.pages.shell import Shell
from worker.domain.replay_job import RUNNING
from worker.domain.replay_jobs import ReplayProgress

HOME = "/replays"
_SHOWN = 30
_EVERY = 1.0


@ui.page(HOME, response_timeout=10)
async def replays(request: Request) -> None:
    """Show the newest jobs, live."""
    shell = Shell("Replays", desk_of(request), here=HOME)
    with shell.page():
        jobs = await shell.desk.replays.latest(limit=_SHOWN)
        Tag("h1", "Replays")
        idle = Tag("p", "No worker runs that moves replays on: a job waits until one starts.", "card warn", hidden=True)
        with Tag("div", classes="card flush"):
            with Tag("div", hidden=bool(jobs)) as none:
                empty("Nothing was replayed yet", "Pick dead letters and replay them: the job is watched here.")
                link("Dead letters", LETTERS, "btn centre-self")
            with (
                Tag("div", hidden=not jobs) as some,
                table("Replay jobs", "Job", "State", "Progress", "By|roomy", "Why|roomy", "Begun") as body,
            ):
                rows = Live(body, _row)

        async def refresh() -> None:
            with shell.told():
                newest = await shell.desk.replays.latest(limit=_SHOWN)
                none.put(hidden=bool(newest))
                some.put(hidden=not newest)
                _show(rows, newest)
                idle.put(hidden=await shell.desk.replays.has_runner())

        _show(rows, jobs)
        ui.timer(_EVERY, refresh)


def _show(rows: Live[ReplayProgress], jobs: Sequence[ReplayProgress]) -> None:
    rows.show({progress.job.id: progress for progress in jobs})


def _row(progress: ReplayProgress) -> tuple[Element, Callable[[ReplayProgress], None]]:
    job = progress.job
    with Tag("tr", data_row=True) as row:
        with Tag("td", classes="tight"):
            link(job.id, f"{HOME}/{job.id}", "row mono")
        with Tag("td", classes="tight"):
            state = chip("")
        with Tag("td", classes="job-cell"):
            meter = Meter()
            text = Tag("span", "", "small soft")
        Tag("td", job.by, "tight roomy")
        Tag("td", job.why, "break roomy")
        with Tag("td", classes="tight"):
            when(job.created_at)

    def refresh(now: ReplayProgress) -> None:
        show_state(state, now.job)
        meter.show(now)
        pace = f" · {now.rate:.1f} a second" if now.rate and now.job.state in RUNNING else ""
        text.say(f"{in_words(now)}{pace}")

    return row, refresh
