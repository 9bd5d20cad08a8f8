"""How a discard or restore looks on a terminal."""

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.text import Text

from worker.cli.dead_letter_text import expires
from worker.domain.durations import format_duration
from worker.domain.selection import DeadLetterState
from worker.domain.triage import TriagePlan, TriageReport
from worker.triage_documents import DONE

_MOVED = {"discard": "only open ones are discarded", "restore": "only discarded ones are restored"}


def print_plan(out: Console, plan: TriagePlan, overdue_after: timedelta) -> None:
    """Print what would be moved."""
    out.print(Text(f"To be {DONE[plan.action].lower()}: {len(plan.ids):,}", "bold"))
    if plan.overdue:
        out.print(Text(f"Replays to be given up: {len(plan.overdue):,}", "bold"))
    print_left_alone(out, plan, overdue_after)
    out.print(Text("This was a dry run: nothing was changed."))


def print_report(out: Console, plan: TriagePlan, report: TriageReport, overdue_after: timedelta) -> None:
    """Print what was moved, and what was not."""
    until = ""
    if report.moved and report.expires_at is not None:
        until = f"; {expires(report.expires_at, datetime.now(UTC))}"
    out.print(Text(f"{DONE[plan.action]}: {report.moved:,}{until}", "bold"))
    if report.given_up:
        out.print(Text(f"Replays given up: {report.given_up:,}", "bold"))
    if report.changed:
        out.print(Text(f"Left alone: {report.changed:,} changed meanwhile"))
    print_left_alone(out, plan, overdue_after)


def print_left_alone(out: Console, plan: TriagePlan, overdue_after: timedelta) -> None:
    """Print what is not moved, and why."""
    for state, count in plan.left_alone.items():
        why = _MOVED[plan.action]
        if state is DeadLetterState.REPLAYING:
            why = f"give one up after {format_duration(overdue_after.total_seconds())}: restore, by its ID"
        out.print(Text(f"Left alone: {count:,} {state} ({why})"))
    if plan.not_matching:
        out.print(Text(f"Left alone: {plan.not_matching:,} named, but not matched by the filters"))
