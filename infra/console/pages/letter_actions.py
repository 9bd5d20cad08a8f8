"""What can be done with dead letters, one or many: replay, discard, restore. Each shows first what it would do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from nicegui import ui

from infra.console.errors import NothingToDoError
from infra.console.pages.dialogs import ask
from infra.console.pages.kit import Tag, chip
from infra.console.pages.shell import Shell
from infra.console.pages.text import counted
from infra.console.pages.words import words
from worker.domain.audit_entry import AuditAction
from worker.domain.replay_job import ReplayOptions
from worker.domain.replay_jobs import MAX_RATE
from worker.domain.replay_plan import ReplayPlan
from worker.domain.selection import Selection
from worker.domain.triage import TriagePlan

_USUAL = ReplayOptions()
LETTER = "dead letter"
Refresh = Callable[[], Awaitable[None]]


async def replay(shell: Shell, selection: Selection) -> None:
    """Show what a replay of the selection would do; start it if that is wanted, and go to where it is watched."""
    with shell.told():
        plan = await shell.desk.replays.plan(selection)
        if not plan.total:
            raise NothingToDoError(plan.why_nothing)
        runs = await shell.desk.replays.has_runner()
        how = _How()
        what = counted(plan.total, LETTER)
        why = await ask(f"Replay {what}?", f"Replay {what}", about=lambda: _show_replay(plan, how, runs=runs))
        if why is not None:
            options = shell.desk.replays.options(
                rate=how.rate or _USUAL.rate, canary=min(int(how.canary or 0), plan.total)
            )
            job = await shell.desk.replays.start(selection, options, why=why, expected=plan.total)
            ui.navigate.to(f"/replays/{job.id}")


@dataclass
class _How:
    """How fast, and how carefully, as it is typed; None where nothing is."""

    rate: float | None = _USUAL.rate
    canary: float | None = _USUAL.canary


def _show_replay(plan: ReplayPlan, how: _How, *, runs: bool) -> None:
    _show_reasons(plan.by_reason)
    _show_left_alone({str(state): count for state, count in plan.left_alone.items()}, plan.not_matching, "open")
    if plan.hopeless:
        Tag("p", f"{counted(plan.hopeless, LETTER)} malformed: they fail again unless what reads them has changed. "
            "An edit corrects one, a discard puts it aside.", "warn")  # fmt: skip
    if not runs:
        Tag("p", "No worker runs that moves replays on: the job waits until one starts.", "warn")
    if plan.total > 1:
        with Tag("div", classes="bar"):
            rate = ui.number("A second, at most", min=0.1, max=MAX_RATE).bind_value(how, "rate")
            canary = ui.number("First, alone", min=0, max=100, precision=0).bind_value(how, "canary")
            for field in (rate, canary):
                field.props("outlined dense").classes("how")
        Tag("p", "The first go out alone; the others follow, ever faster, once those are shipped. The job stops by "
            "itself when the same failure comes back or the circuit opens.", "soft small")  # fmt: skip


async def discard(shell: Shell, selection: Selection, refresh: Refresh) -> None:
    """Show what a discard of the selection would do; do it if that is wanted, with a way back."""
    with shell.told():
        plan = await shell.desk.triage.plan_discard(selection)
        if not plan.count:
            raise NothingToDoError(plan.why_nothing)
        what = counted(plan.count, LETTER)
        why = await ask(f"Discard {what}?", f"Discard {what}", look="danger", about=lambda: _show_discard(plan))
        if why is None:
            return
        report = await shell.desk.triage.discard(plan, why=why)

        async def undo() -> None:
            with shell.told():
                back = await shell.desk.triage.restore(replace(plan, action=AuditAction.RESTORE), why=f"undone: {why}")
                shell.say(f"Open again: {counted(back.moved, LETTER)}.")
                await refresh()

        shell.say(f"Discarded {counted(report.moved, LETTER)}{_changed(report.changed)}.", undo=undo)
        await refresh()


async def restore(shell: Shell, selection: Selection, refresh: Refresh) -> None:
    """Show what a restore of the selection would do, and do it if that is wanted."""
    with shell.told():
        plan = await shell.desk.triage.plan_restore(selection)
        if not plan.count:
            raise NothingToDoError(plan.why_nothing)
        what = counted(plan.count, LETTER)
        why = await ask(f"Open {what} again?", "Open again", about=lambda: _show_restore(plan))
        if why is not None:
            report = await shell.desk.triage.restore(plan, why=why)
            moved = counted(report.moved + report.given_up, LETTER)
            shell.say(f"Open again: {moved}{_changed(report.changed)}.")
            await refresh()


def _show_discard(plan: TriagePlan) -> None:
    _show_left_alone({str(state): count for state, count in plan.left_alone.items()}, plan.not_matching, "open")
    Tag("p", "They are kept for a while and can be restored until then.", "soft small")


def _show_restore(plan: TriagePlan) -> None:
    if plan.overdue:
        Tag("p", f"{counted(len(plan.overdue), 'replay')} overdue: given up with this. Should the copy still arrive, "
            "its order is not dispatched twice.", "warn")  # fmt: skip
    _show_left_alone({str(state): count for state, count in plan.left_alone.items()}, plan.not_matching, "discarded")


def _show_reasons(by_reason: dict[str, int]) -> None:
    with Tag("div", classes="line"):
        for reason, count in by_reason.items():
            chip(f"{words(reason)} {count:,}")


def _show_left_alone(left_alone: dict[str, int], not_matching: int, moved: str) -> None:
    parts = [f"{count:,} {state}" for state, count in left_alone.items()]
    if not_matching:
        parts.append(f"{not_matching:,} that the filter does not match")
    if parts:
        Tag("p", f"Left alone: {', '.join(parts)} (only {moved} ones are taken).", "soft")


def _changed(count: int) -> str:
    return f"; {counted(count, LETTER)} changed meanwhile and were left alone" if count else ""
