"""`logistics doctor`."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.telemetry.logs import setup_logging
from worker.cli.output import plain, print_json
from worker.diagnosis import Diagnosis, diagnose
from worker.finding import Verdict
from worker.overview_words import counted
from worker.secret_files import PREFIX
from worker.settings_report import SettingLine

_STYLES = {Verdict.OK: "green", Verdict.NOTE: "cyan", Verdict.WARNING: "yellow", Verdict.PROBLEM: "bold red"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else there.")
def doctor(*, as_json: bool) -> None:
    """Check the settings and every server they name, and say what to do about what is wrong.

    Settings: each with its value (secrets masked) and where it comes from; variables that nothing reads. RabbitMQ:
    reachable, login, version, exchanges and queues. MongoDB: reachable, primary, replica set, and whether it takes a
    journaled majority write. Supplier: whether anything answers at its address; no order is ever dispatched. Timing:
    whether the durations make sense together.

    A note or a warning is worth reading; only a problem makes it fail.

    Exit codes: 0 no problem (warnings or not), 1 at least one problem, 2 wrong use.

    \b
    Examples:
      logistics doctor
      logistics doctor --json | jq '.settings[] | select(.source == "set")'
      logistics doctor && logistics worker
    """
    setup_logging("CRITICAL")
    diagnosis = asyncio.run(diagnose(os.environ))
    problems = diagnosis.count(Verdict.PROBLEM)
    if as_json:
        print_json({"ok": not problems, **asdict(diagnosis)})
    else:
        _show(diagnosis, Console(highlight=False))
    sys.exit(1 if problems else 0)


def _show(diagnosis: Diagnosis, console: Console) -> None:
    console.print(Text(f"settings (each is the variable {PREFIX}...)", style="bold"))
    console.print(_settings_table(diagnosis.settings))
    for line in diagnosis.settings:
        if line.verdict is not Verdict.OK:
            _show_line(console, line.verdict, f"{line.variable}: {line.text}", line.advice)
    for area, findings in groupby(diagnosis.findings, key=lambda finding: finding.area):
        if area != "settings":
            console.print()
            console.print(Text(area, style="bold"))
        for finding in findings:
            _show_line(console, finding.verdict, finding.text, finding.advice)
    console.print()
    console.print(_summary(diagnosis))


def _settings_table(lines: Sequence[SettingLine]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for line in lines:
        if line.verdict is Verdict.OK:
            style = "dim" if line.source == "default" else ""
            table.add_row(
                Text(f"  {line.variable.removeprefix(PREFIX)}"),
                Text(plain(line.value or "-")),
                Text(line.source),
                style=style,
            )
    return table


def _show_line(console: Console, verdict: Verdict, text: str, advice: str | None) -> None:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=9, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(f"  {verdict}", style=_STYLES[verdict]), Text(plain(text)))
    if advice:
        row.add_row("", Text(f"-> {plain(advice)}", style="dim"))
    console.print(row)


def _summary(diagnosis: Diagnosis) -> Text:
    problems, warnings = diagnosis.count(Verdict.PROBLEM), diagnosis.count(Verdict.WARNING)
    if not problems and not warnings:
        return Text("No problem found.", style="green")
    counts = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}"
    return Text(counts, style="red" if problems else "yellow")
