"""How everything about one dead letter looks on a terminal."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.dead_letter_story_views import replays_table, timeline_table, versions_table
from worker.cli.dead_letter_text import ago, at, body_lines, expires
from worker.cli.dead_letter_views import open_table, state_text
from worker.cli.output import plain
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_view import LetterView
from worker.domain.shipment import HistoryEvent, Shipment


def print_letter(out: Console, view: LetterView, now: datetime) -> None:
    """Print everything about one dead letter."""
    letter = view.letter
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(letter, view.shipment, now):
        facts.add_row(Text(name), value if isinstance(value, Text) else Text(plain(value)))
    out.print(facts)
    _section(out, "Error", letter.error_chain or (letter.error_message,))
    _section(out, "Attempts", ())
    out.print(_attempts_table(letter.attempts))
    if view.replays:
        _section(out, "Replays", ())
        out.print(replays_table(view.replays, with_versions=letter.version > 0))
    if letter.version:
        _section(out, "Versions (an earlier body: show ID --raw --version 0)", ())
        out.print(versions_table(view.versions))
    _section(out, "Headers", (f"{name}: {_header(value)}" for name, value in sorted(letter.headers.items())))
    _section(out, "History", ())
    out.print(timeline_table(view.timeline))
    _section(out, f"Body ({len(letter.body):,} bytes)", body_lines(letter.body))


def _failed_tries(count: int) -> str:
    return "1 failed try" if count == 1 else f"{count} failed tries"


def _facts(letter: DeadLetterRecord, shipment: Shipment | None, now: datetime) -> list[tuple[str, object]]:
    def when(time: datetime) -> str:
        return f"{at(time)} ({ago(time, now)})"

    shipped_as = f"{shipment.status}, {_failed_tries(shipment.retry_count)}, id {shipment.id}" if shipment else "none"
    return [
        ("id", letter.id),
        ("state", state_text(letter.state).append(f", {expires(letter.expires_at, now)}" if letter.expires_at else "")),
        ("reason", letter.reason),
        ("group", letter.fingerprint),
        ("order", letter.order_id if letter.order_id is not None else "not readable"),
        ("trace", letter.trace_id),
        ("first failed", when(letter.first_failed_at)),
        ("dead-lettered", when(letter.dead_lettered_at)),
        ("failed replays", letter.replay_count),
        ("last replay", letter.replay_id or "none"),
        *([("version", f"{letter.version}, edited")] if letter.version else []),
        ("came from", f"exchange {letter.origin_exchange!r}, routing key {letter.origin_routing_key!r}"),
        ("shipment", shipped_as),
    ]


def _attempts_table(attempts: Sequence[HistoryEvent]) -> Table:
    table = open_table("try", "time", "worker", "next after", "error")
    for attempt in attempts:
        table.add_row(
            Text(str(attempt.attempt or ""), justify="right"),
            Text(at(attempt.at)),
            Text(plain(attempt.worker or "")),
            Text(f"{attempt.delay:.1f} s" if attempt.delay is not None else ""),
            Text(plain(attempt.error_message or attempt.error_type or attempt.event)),
        )
    return table


def _section(out: Console, title: str, lines: Iterable[str]) -> None:
    out.print(Text(f"\n{title}", "bold"))
    for line in lines:
        out.print(Text(f"  {plain(line)}"), overflow="fold")


def _header(value: object) -> str:
    return plain(value if isinstance(value, str | bytes) else repr(value))
