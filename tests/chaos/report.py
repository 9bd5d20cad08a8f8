"""The table of a run."""

from rich.console import Console
from rich.table import Table

from tests.chaos.accountant import Wrong
from tests.chaos.run import Result

_UNACCOUNTED = (Wrong.IN_TWO_PLACES, Wrong.ORPHAN, Wrong.NOT_NOTED, Wrong.NEVER_DISPATCHED)
_SHOWN = 20


def print_result(console: Console, result: Result) -> None:
    """Print what a run shows: the counts, the faults by kind, and each finding."""
    account = result.account
    table = Table(
        title=f"{result.orders:,} orders, {result.faults.total()} faults, seed {result.seed}", title_style="bold"
    )
    table.add_column("what")
    table.add_column("count", justify="right")
    rows: list[tuple[str, object]] = [
        ("orders confirmed", result.confirmed),
        ("shipped", account.shipped),
        ("open dead letters", account.open_letters),
        ("messages in queues", account.queued),
        ("lost", account.count(Wrong.LOST)),
        ("unaccounted", account.count(*_UNACCOUNTED)),
        ("double dispatches", account.count(Wrong.DISPATCHED_TWICE)),
        ("traces broken", account.count(Wrong.BROKEN_TRACE)),
        ("retries without a reason", account.count(Wrong.RETRY_WITHOUT_REASON, Wrong.WRONG_COUNT)),
        ("duplicates absorbed", account.duplicates_absorbed),
        ("workers started", result.worker_starts),
        ("workers found deaf and restarted", result.found_deaf),
        ("stuck queues given another leader", result.freed),
        ("slowest recovery", f"{result.slowest.seconds:.1f} s"),
        ("longest pause, faults included", f"{result.longest_pause.longest_pause:.1f} s"),
        ("whole run", f"{result.seconds:.0f} s"),
    ]
    for name, value in rows:
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    table.add_section()
    for kind, count in sorted(result.faults.items()):
        table.add_row(f"  {kind}", str(count))
    console.print(table)
    console.print(f"slowest recovery after: {result.slowest.storm}", highlight=False)
    console.print(f"longest pause in: {result.longest_pause.storm}", highlight=False)
    for finding in account.findings[:_SHOWN]:
        console.print(f"WRONG  {finding}", markup=False)
    if len(account.findings) > _SHOWN:
        console.print(f"… and {len(account.findings) - _SHOWN} more")
