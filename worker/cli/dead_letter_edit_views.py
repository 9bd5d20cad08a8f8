"""How an edit looks: its difference, and what became of it."""

from rich.console import Console
from rich.text import Text

from worker.cli.dead_letter_story_views import outcome_text
from worker.cli.output import plain
from worker.domain.edit import Edit, EditReport, EditResult
from worker.domain.letter_story import ReplayStory

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def print_edit(out: Console, edit: Edit) -> None:
    """Print what the edit changes, and where it goes."""
    for line in [*edit.body_changes, *_header_lines(edit)]:
        out.print(Text(plain(line), _STYLES.get(line[:1], "")), overflow="fold")
    where = f"exchange {edit.origin.exchange!r}, routing key {edit.origin.routing_key!r}"
    out.print(Text(plain(f"Version {edit.after.version} of dead letter {edit.after.id}, to {where}")), overflow="fold")


def print_report(out: Console, report: EditReport | None, story: ReplayStory | None) -> None:
    """Print what became of an edit; None: it was a dry run."""
    if report is None:
        out.print(Text("This was a dry run: nothing was sent."))
        return
    match report.result:
        case EditResult.SENT:
            out.print(Text(f"Sent: replay {report.replay_id}", "bold"))
            if story is not None:
                out.print(Text(f"Outcome: {outcome_text(story)}", "bold"))
        case EditResult.NOT_SENT:
            out.print(Text(f"Not sent: {plain(report.why)}", "bold red"))
            out.print(Text("The dead letter is open and keeps the edited body: 'replay' sends it, 'edit' changes it."))
        case EditResult.UNKNOWN:
            out.print(Text(f"Nobody knows whether it was sent: {plain(report.why)}", "bold red"))
            out.print(Text("A worker opens the dead letter again after a minute, unless its copy is taken before."))


def _header_lines(edit: Edit) -> list[str]:
    lines = []
    for name, (old, new) in edit.header_changes.items():
        lines += [f"-header {name}: {old}"] if old is not None else []
        lines += [f"+header {name}: {new}"] if new is not None else []
    return lines
