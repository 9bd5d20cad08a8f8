"""How far a replay job is: in one line, and as a picture that is drawn anew."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from worker.cli.output import plain
from worker.domain.replay_job import ItemState, JobState, ReplayTally
from worker.domain.replay_jobs import ReplayProgress
from worker.overview_words import span

_BAR = 60
STATE_STYLES = {
    JobState.DONE: "green",
    JobState.STOPPED: "bold red",
    JobState.CANCELLED: "dim",
    JobState.PAUSED: "yellow",
}
ITEM_WORDS = {
    ItemState.RESOLVED: ("resolved", "green"),
    ItemState.FAILED_AGAIN: ("failed again", "red"),
    ItemState.NOT_SENT: ("refused by the broker", "red"),
    ItemState.SENT: ("on its way", "yellow"),
    ItemState.IN_DOUBT: ("in doubt", "yellow"),
    ItemState.SKIPPED: ("not open any more", "dim"),
    ItemState.TAKEN_BACK: ("taken back", "dim"),
    ItemState.WAITING: ("not sent yet", ""),
}
_IN_THE_BAR = (
    (ItemState.RESOLVED, "green"),
    (ItemState.FAILED_AGAIN, "red"),
    (ItemState.NOT_SENT, "red"),
    (ItemState.SKIPPED, "dim"),
    (ItemState.TAKEN_BACK, "dim"),
    (ItemState.IN_DOUBT, "yellow"),
    (ItemState.SENT, "yellow"),
)


def in_one_line(progress: ReplayProgress) -> str:
    """Return how far a job is, in one line."""
    job, tally = progress.job, progress.tally
    if job.total is None:
        return f"{job.id} {job.state}: {sum(tally.counts.values()):,} selected"
    parts = [f"{tally.of(ItemState.RESOLVED):,} of {job.total:,} resolved"]
    parts += [f"{tally.of(state):,} {word}" for state, (word, _) in ITEM_WORDS.items() if _is_news(state, tally)]
    if tally.overdue:
        parts.append(f"{tally.overdue:,} overdue")
    if progress.rate:
        parts.append(f"{progress.rate:.0f}/s")
    if progress.all_sent_at is not None and job.state is JobState.RAMP:
        parts.append(f"all sent in {span(max((progress.all_sent_at - datetime.now(UTC)).total_seconds(), 0.0))}")
    reason = job.because or job.note
    return f"{job.id} {job.state}: {', '.join(parts)}{f' ({reason})' if reason else ''}"


def _is_news(state: ItemState, tally: ReplayTally) -> bool:
    return state not in {ItemState.RESOLVED, ItemState.WAITING} and tally.of(state) > 0


def picture(progress: ReplayProgress) -> RenderableType:
    """Return the job as a bar with its counts below and what it waits for."""
    job, tally = progress.job, progress.tally
    head = Text.assemble(
        ("replay ", "dim"),
        (job.id, "bold"),
        "  ",
        (job.state, STATE_STYLES.get(job.state, "cyan")),
        "  ",
        _pace(progress),
    )
    if job.total is None:
        return Group(head, Text(f"  {sum(tally.counts.values()):,} selected so far", "dim"))
    lines = [head, _bar(tally, job.total), _legend(tally)]
    if job.note or job.because:
        lines.append(Text(f"  {plain(job.because or job.note or '')}", "yellow"))
    return Group(*lines)


def _bar(tally: ReplayTally, total: int) -> Text:
    bar, filled, counted = Text("  "), 0, 0
    for state, style in _IN_THE_BAR:
        counted += tally.of(state)
        upto = round(_BAR * counted / total) if total else 0
        bar.append("█" * (upto - filled), style)
        filled = max(filled, upto)
    bar.append("░" * (_BAR - filled), "dim")
    return bar.append(f" {total:,}")


def _legend(tally: ReplayTally) -> Text:
    legend = Text("  ")
    for state, (word, style) in ITEM_WORDS.items():
        if tally.of(state) or state is ItemState.RESOLVED:
            legend.append(f"{tally.of(state):,} {word}  ", style)
    if tally.overdue:
        legend.append(f"{tally.overdue:,} overdue", "bold red")
    return legend


def _pace(progress: ReplayProgress) -> str:
    if not progress.rate or progress.all_sent_at is None:
        return ""
    left = span(max((progress.all_sent_at - datetime.now(UTC)).total_seconds(), 0.0))
    return f"{progress.rate:.1f} a second, all sent in {left}"
