"""How replay jobs look on a terminal: the plan, the progress, the list."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.dead_letter_text import ago, at
from worker.cli.dead_letter_views import error_text, is_wide, one_line_table, open_table
from worker.cli.output import plain
from worker.cli.replay_picture import ITEM_WORDS, STATE_STYLES
from worker.domain.replay_job import RESUMABLE, ItemState, JobState, ReplayItem, ReplayJob, ReplayOptions, ReplayTally
from worker.domain.replay_jobs import ReplayProgress
from worker.domain.replay_plan import ReplayPlan
from worker.domain.selection import DeadLetterGroup
from worker.domain.selection_words import in_words
from worker.overview_words import span

_MAX_ROWS = 20
_START = "logistics replay start ID --why …"


def print_plan(out: Console, plan: ReplayPlan, options: ReplayOptions) -> None:
    """Print what a job would do, what it would leave alone and why."""
    if plan.groups:
        out.print(_planned_table(plan.groups[:_MAX_ROWS]))
        if len(plan.groups) > _MAX_ROWS:
            out.print(Text(f"  … and {len(plan.groups) - _MAX_ROWS} more groups"))
    reasons = ", ".join(f"{count:,} {plain(reason)}" for reason, count in plan.by_reason.items())
    out.print(Text(f"To be replayed: {plan.total:,}{f' ({reasons})' if reasons else ''}", "bold"))
    if plan.total:
        out.print(Text(f"How: {_how(plan, options)}"))
    for state, count in plan.left_alone.items():
        out.print(Text(f"Left alone: {count:,} {state} (only open ones are replayed)"))
    if plan.not_matching:
        out.print(Text(f"Left alone: {plan.not_matching:,} named, but not matched by the filters"))
    if plan.hopeless:
        out.print(
            Text(
                f"Beware: {plan.hopeless:,} malformed ones fail again unless the program that reads them has changed; "
                "'logistics dead-letters edit' corrects one, 'discard' puts it aside",
                "yellow",
            )
        )


def print_progress(out: Console, progress: ReplayProgress) -> None:
    """Print one job and how far it is."""
    job, tally = progress.job, progress.tally
    now = datetime.now(UTC)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    rows: list[tuple[str, str | Text | None]] = [
        ("job", job.id),
        ("state", Text(job.state, STATE_STYLES.get(job.state, "cyan"))),
        ("because", job.because),
        ("now", job.note),
        ("what", _what(job)),
        ("who", f"{job.by}, {at(job.created_at)} ({ago(job.created_at, now)})"),
        ("why", job.why),
        ("to", f"exchange {job.options.target.exchange!r}, key {job.options.target.routing_key!r}")
        if job.options.target is not None
        else ("to", None),
        ("letters", "being selected" if job.total is None else f"{job.total:,}"),
        ("rate", f"{progress.rate:.1f} a second, at most {job.options.rate:g}" if progress.rate else None),
        ("all sent", _when_all_sent(progress, now)),
        ("ended", None if job.finished_at is None else at(job.finished_at)),
    ]
    for name, value in rows:
        if value is not None:
            facts.add_row(Text(name), value if isinstance(value, Text) else Text(plain(value)))
    out.print(facts)
    if job.total:
        out.print(Text(""))
        out.print(_tally_table(tally, over=job.is_over))
    _print_hints(out, progress)


def print_list(out: Console, found: Sequence[ReplayProgress]) -> None:
    """Print the jobs, a line each."""
    if not found:
        out.print(Text("No replay job yet: 'logistics replay start --help' says how to begin one."))
        return
    now = datetime.now(UTC)
    wide = is_wide(out)
    columns: dict[str, list[Text]] = {
        "job": [Text(progress.job.id, "bold") for progress in found],
        "began": [Text(ago(progress.job.created_at, now)) for progress in found],
        "state": [Text(progress.job.state, STATE_STYLES.get(progress.job.state, "cyan")) for progress in found],
        "letters": [_right(progress.job.total or 0) for progress in found],
        "resolved": [_right(progress.tally.of(ItemState.RESOLVED)) for progress in found],
        "failed": [_right(progress.tally.of(ItemState.FAILED_AGAIN)) for progress in found],
        "out": [_right(progress.tally.on_its_way) for progress in found],
        "by": [Text(plain(progress.job.by)) for progress in found],
        "why": [Text(plain(progress.job.why)) for progress in found],
    }
    if wide:
        columns["what"] = [Text(plain(_what(progress.job))) for progress in found]
    else:
        del columns["by"]
    out.print(one_line_table(columns))


def print_letters(out: Console, letters: Sequence[ReplayItem]) -> None:
    """Print the letters of a job, a line each."""
    if not letters:
        return
    columns = {
        "dead letter": [Text(item.letter_id) for item in letters],
        "came to": [Text(*ITEM_WORDS[item.state]) for item in letters],
        "why": [error_text(item.why or "") for item in letters],
    }
    out.print(Text(""))
    out.print(one_line_table(columns))


def _what(job: ReplayJob) -> str:
    """Return what a job is about; that its letters were open goes without saying."""
    return in_words(replace(job.selection, state=None))


def _right(number: int) -> Text:
    return Text(f"{number:,}", justify="right")


def _how(plan: ReplayPlan, options: ReplayOptions) -> str:
    canary = min(options.canary, plan.total)
    first = f"{canary:,} first as a canary, then " if canary and canary < plan.total else ""
    faster = f"{options.start_rate:g} a second growing to " if options.start_rate < options.rate else ""
    where = (
        f", to exchange {options.target.exchange!r} with key {options.target.routing_key!r}"
        if options.target is not None
        else ", to where they came from"
    )
    return plain(f"{first}{faster}{options.rate:g} a second{where}")


def _planned_table(groups: Sequence[DeadLetterGroup]) -> Table:
    return one_line_table(
        {
            "group": [Text(plain(group.fingerprint), "bold") for group in groups],
            "count": [Text(f"{group.count:,}", justify="right") for group in groups],
            "reason": [Text(plain(group.reason)) for group in groups],
            "error": [error_text(group.error_message) for group in groups],
        }
    )


def _tally_table(tally: ReplayTally, *, over: bool) -> Table:
    table = open_table("came to", "letters")
    for state, (word, style) in ITEM_WORDS.items():
        if tally.of(state) or state is ItemState.RESOLVED:
            word = "left alone" if over and state is ItemState.WAITING else word
            table.add_row(Text(word, style), Text(f"{tally.of(state):,}", justify="right"))
    if tally.overdue:
        table.add_row(Text("  of those overdue", "bold red"), Text(f"{tally.overdue:,}", justify="right"))
    return table


def _when_all_sent(progress: ReplayProgress, now: datetime) -> str | None:
    if progress.all_sent_at is None:
        return None
    return f"in {span(max((progress.all_sent_at - now).total_seconds(), 0.0))}, at this pace"


def _print_hints(out: Console, progress: ReplayProgress) -> None:
    job, tally = progress.job, progress.tally
    if progress.arrived:
        out.print(
            Text(f"{progress.arrived:,} more that match arrived since it began: they are not part of it.", "yellow")
        )
    if not job.is_over:
        for line in _way_on(job, tally):
            out.print(line)
    if tally.of(ItemState.FAILED_AGAIN, ItemState.NOT_SENT):
        out.print(Text(f"Which ones: logistics replay show {job.id} --letters"))
        if job.is_over:
            out.print(Text(f"They are open again, and go into a new job: {_START}"))
    if tally.overdue:
        out.print(
            Text(
                "Overdue: look at one with 'logistics dead-letters show'; 'restore ID' opens it again when it is lost."
            )
        )


def _way_on(job: ReplayJob, tally: ReplayTally) -> list[Text]:
    """Return what can be done about a job that is not over, nothing when it needs nobody."""
    has_failed = tally.of(ItemState.FAILED_AGAIN, ItemState.NOT_SENT)
    if has_failed and job.total is not None and not tally.of(ItemState.WAITING):
        is_still = job.state in RESUMABLE
        end = f"To end this one: logistics replay cancel {job.id}" if is_still else "This one ends by itself"
        return [Text(f"Nothing of it is left to send: what failed goes into a new job: {_START}"), Text(end)]
    if job.state is JobState.STOPPED:
        return [Text(f"When the cause is gone: logistics replay resume {job.id}; to give up: … cancel {job.id}")]
    if job.state is JobState.PAUSED:
        return [Text(f"To go on: logistics replay resume {job.id}; to end it: … cancel {job.id}")]
    return []
