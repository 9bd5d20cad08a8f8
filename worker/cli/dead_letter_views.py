"""How dead letters look on a terminal. Every text of a message goes through `plain`; none is read as markup."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.dead_letter_text import ago, expires
from worker.cli.output import plain
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterGroup, DeadLetterState, HourCount

_PIPE_WIDTH = 400  # columns are as wide as they need to be; a pipe is read by grep, which wants whole lines
_WIDE = 140
_MAX_ERROR = 160
_LEAST_WIDTH = 12
_HOUR = timedelta(hours=1)
_MOST_HOURS = 72
_BAR = 40
_COUNTS = 2  # columns of a table that only counts
_STATE_STYLES = {
    DeadLetterState.OPEN: "red",
    DeadLetterState.REPLAYING: "yellow",
    DeadLetterState.RESOLVED: "green",
    DeadLetterState.DISCARDED: "dim",
}


def console() -> Console:
    """Return the console of standard output."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False, emoji=False)


def is_wide(out: Console) -> bool:
    """Whether there is room for whole ids and the lesser columns."""
    return out.width >= _WIDE


def list_table(letters: Sequence[DeadLetterRecord], ids: Mapping[str, str], now: datetime, *, wide: bool) -> Table:
    """Return the letters as a table, a line each. `ids`: how to write each id."""
    columns = {
        "id": [Text(ids[letter.id], "bold") for letter in letters],
        "failed": [Text(ago(letter.dead_lettered_at, now)) for letter in letters],
        "state": [state_text(letter.state) for letter in letters],
        "reason": [Text(plain(letter.reason)) for letter in letters],
        "order": [_cut(letter.order_id if letter.order_id is not None else "-", 40) for letter in letters],
        "replays": [Text(str(letter.replay_count), justify="right") for letter in letters],
        "expires": [Text(expires(letter.expires_at, now) if letter.expires_at else "") for letter in letters],
        "error": [error_text(letter.error_message) for letter in letters],
    }
    if not wide and len({letter.state for letter in letters}) == 1:
        del columns["state"]
    if not any(letter.replay_count for letter in letters):
        del columns["replays"]
    if not any(letter.expires_at for letter in letters):
        del columns["expires"]
    return one_line_table(columns)


def groups_table(groups: Sequence[DeadLetterGroup], ids: Mapping[str, str], now: datetime, *, wide: bool) -> Table:
    """Return the groups as a table, a line each. `ids`: how to write each example's id."""
    columns = {
        "group": [Text(plain(group.fingerprint), "bold") for group in groups],
        "count": [Text(f"{group.count:,}", justify="right") for group in groups],
        "reason": [Text(plain(group.reason)) for group in groups],
        "first": [Text(ago(group.first_seen, now)) for group in groups],
        "last": [Text(ago(group.last_seen, now)) for group in groups],
        "example": [Text(ids[group.example_id]) for group in groups],
        "error": [error_text(group.error_message) for group in groups],
    }
    if not wide:
        del columns["first"]
    return one_line_table(columns)


def hours_table(found: Sequence[HourCount]) -> Table:
    """Return the hours as a table with a bar a line; an hour without any shows as one, unless there are too many."""
    counts = {hour.hour: hour.count for hour in found}
    first, last = min(counts), max(counts)
    between = round((last - first) / _HOUR) + 1
    shown = [first + number * _HOUR for number in range(between)] if between <= _MOST_HOURS else sorted(counts)
    most = max(counts.values())
    table = open_table("hour (UTC)", "count", "")
    for hour in shown:
        count = counts.get(hour, 0)
        bar = "█" * max(round(_BAR * count / most), min(count, 1))
        table.add_row(Text(f"{hour:%Y-%m-%d %H:%M}"), Text(f"{count:,}", justify="right"), Text(bar, "red"))
    return table


def error_text(message: str) -> Text:
    """Return an error for a table."""
    return _cut(message, _MAX_ERROR)


def open_table(*names: str) -> Table:
    """Return an empty table whose last column has the room that is left."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
    for name in names[:-1]:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column(names[-1], overflow="fold", min_width=_LEAST_WIDTH if len(names) > _COUNTS else None)
    return table


def one_line_table(columns: Mapping[str, Sequence[Text]]) -> Table:
    """Return a table of these columns; what is too long for the last one is cut off."""
    table = open_table(*columns)
    for row in zip(*columns.values(), strict=True):
        row[-1].no_wrap, row[-1].overflow = True, "ellipsis"
        table.add_row(*row)
    return table


def state_text(state: DeadLetterState) -> Text:
    """Return a state in its colour."""
    return Text(state, _STATE_STYLES[state])


def _cut(value: str, length: int) -> Text:
    text = plain(value)
    return Text(text if len(text) <= length else f"{text[: length - 1]}…")
