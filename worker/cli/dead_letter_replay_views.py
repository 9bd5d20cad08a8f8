"""How a replay looks on a terminal: its plan, what it did, what it came to."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.dead_letter_views import error_text, one_line_table, open_table
from worker.cli.output import plain
from worker.domain.replay_report import PlannedGroup, ReplayOutcome, ReplayPlan, ReplayReport, ReplayResult

_MAX_ROWS = 20
_EXAMPLES = 5


def print_plan(out: Console, plan: ReplayPlan) -> None:
    """Print what a replay would do."""
    if plan.ids:
        out.print(_planned_table(plan.groups[:_MAX_ROWS]))
        if len(plan.groups) > _MAX_ROWS:
            out.print(Text(f"  … and {len(plan.groups) - _MAX_ROWS} more groups"))
    reasons = ", ".join(f"{count:,} {plain(reason)}" for reason, count in plan.by_reason.items())
    out.print(Text(f"To be replayed: {len(plan.ids):,}{f' ({reasons})' if reasons else ''}", "bold"))
    _print_left_alone(out, plan)


def print_report(out: Console, plan: ReplayPlan, report: ReplayReport) -> None:
    """Print what a replay did."""
    styles = {ReplayResult.SENT: "green", ReplayResult.FAILED: "red", ReplayResult.UNKNOWN: "yellow"}
    table = open_table("result", "count")
    for result in ReplayResult:
        if (count := report.count(result)) or result is ReplayResult.SENT:
            table.add_row(Text(result, styles.get(result, "")), Text(f"{count:,}", justify="right"))
    if report.not_tried:
        table.add_row(Text("not tried"), Text(f"{report.not_tried:,}", justify="right"))
    out.print(table)
    _print_not_sent(out, report)
    _print_left_alone(out, plan)
    if report.stopped is not None:
        out.print(Text(f"Stopped early: {plain(report.stopped)}", "bold red"))
    if report.count(ReplayResult.UNKNOWN):
        out.print(Text("unknown: the copy may have gone out; what is not shipped is open again in about a minute."))


def print_outcomes(out: Console, outcomes: Mapping[str, ReplayOutcome]) -> None:
    """Print what became of the copies."""
    came_to = list(outcomes.values())
    words = {"resolved": "green", "failed again": "red", "still on its way": "yellow"}
    table = open_table("outcome", "count")
    for (word, style), outcome in zip(words.items(), ReplayOutcome, strict=True):
        table.add_row(Text(word, style), Text(f"{came_to.count(outcome):,}", justify="right"))
    out.print(table)


def _print_not_sent(out: Console, report: ReplayReport) -> None:
    """Print what was not sent by reason, each with some of its letters."""
    reasons: dict[tuple[ReplayResult, str], list[str]] = {}
    for letter in report.letters:
        if letter.result is not ReplayResult.SENT:
            reasons.setdefault((letter.result, letter.why or ""), []).append(letter.letter_id)
    for (result, why), ids in list(reasons.items())[:_MAX_ROWS]:
        out.print(Text(f"{len(ids):,} {result}: {plain(why)}"))
        for letter_id in ids[:_EXAMPLES]:
            out.print(Text(f"  {letter_id}"))
        if len(ids) > _EXAMPLES:
            out.print(Text(f"  … {len(ids) - _EXAMPLES:,} more (--json lists all)"))
    if len(reasons) > _MAX_ROWS:
        out.print(Text(f"… {len(reasons) - _MAX_ROWS:,} more reasons (--json lists all)"))


def _planned_table(groups: Sequence[PlannedGroup]) -> Table:
    return one_line_table(
        {
            "group": [Text(plain(group.fingerprint), "bold") for group in groups],
            "count": [Text(f"{group.count:,}", justify="right") for group in groups],
            "reason": [Text(plain(group.reason)) for group in groups],
            "error": [error_text(group.error_message) for group in groups],
        }
    )


def _print_left_alone(out: Console, plan: ReplayPlan) -> None:
    for state, count in plan.left_alone.items():
        out.print(Text(f"Left alone: {count:,} {state} (only open ones are replayed)"))
    if plan.not_matching:
        out.print(Text(f"Left alone: {plan.not_matching:,} named, but not matched by the filters"))
