"""The workers on a terminal."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.text import Text

from worker.cli.output import plain
from worker.cli.status_view import workers_table
from worker.control_words import listed_names
from worker.domain.controls import Wishes
from worker.domain.worker_controls import Answers
from worker.overview_words import counted
from worker.worker_documents import workers_document
from worker.worker_views import WorkerView


def print_workers(out: Console, found: Sequence[WorkerView], wishes: Wishes, *, now: datetime) -> None:
    """Print what is held back, then the workers."""
    for sentence in workers_document(found, wishes, now=now)["held_back"]:
        out.print(Text.assemble(("! ", "bold red"), (plain(sentence), "red")))
    if found:
        out.print(workers_table(found))
    else:
        out.print(Text("No worker has reported within the last hour, or all have stopped."))


def answers_in_words(done: str, answers: Answers) -> str:
    """Return which workers have carried a wish out; `done`: how that is called."""
    total = len(answers.done) + len(answers.silent)
    if not total:
        return "No worker runs that takes orders. The wish is kept for those that start."
    if not answers.silent:
        return f"{done}: {plain(answers.done[0]) if total == 1 else f'all {total} workers'}"
    verb = "has" if len(answers.silent) == 1 else "have"
    names = plain(listed_names(answers.silent))
    return f"{done}: {len(answers.done)} of {counted(total, 'worker')}; {names} {verb} not answered yet"
