"""The filters that `list`, `groups`, `export` and `replay` share."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from worker.domain.durations import parse_duration, read_time
from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterState, Selection

_ALL = "all"
Command = Callable[..., None]


def selecting(*, default_state: DeadLetterState | None = None) -> Callable[[Command], Command]:
    """Give a command the filter options; it gets what they say as one argument, `selection`.

    `--state` is among them where there is a default for it; else the selection takes in every state.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_selection(**given: Any) -> None:
            command(selection=_selection(given), **given)

        options = _options() if default_state is None else [*_options(), _state_option(default_state)]
        for option in reversed(options):
            option(with_selection)
        return with_selection

    return decorate


def names_some(selection: Selection) -> bool:
    """Whether the selection says which letters by more than their state."""
    others = (selection.reason, selection.group, selection.order_id, selection.trace_id)
    return bool(selection.ids or selection.since or selection.until or any(value is not None for value in others))


class Time(click.ParamType[datetime]):
    """A time of the command line."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time."""
        try:
            return read_time(str(value), now=datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """A duration of the command line, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Utf8Text(click.ParamType[str]):
    """A text of the command line."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; bytes of the shell that are not UTF-8 can match nothing that is stored."""
        try:
            str(value).encode("utf-8")
        except UnicodeEncodeError:
            self.fail("it is not UTF-8", param, ctx)
        return str(value)


def _options() -> list[Callable[[Command], Command]]:
    return [
        click.option("--reason", type=click.Choice([*map(str, DeadLetterReason)]), help="Why it is a dead letter."),
        click.option("--group", metavar="FINGERPRINT", type=Utf8Text(), help="The group, as 'groups' shows it."),
        click.option("--order-id", metavar="ID", type=Utf8Text(), help="The order."),
        click.option("--trace-id", metavar="ID", type=Utf8Text(), help="The trace."),
        click.option(
            "--since", metavar="TIME", type=Time(), help="Dead-lettered at TIME or later: 2h, 30m, 3d ago, or ISO."
        ),
        click.option("--until", metavar="TIME", type=Time(), help="Dead-lettered before TIME."),
    ]


def _state_option(default: DeadLetterState) -> Callable[[Command], Command]:
    return click.option(
        "--state",
        type=click.Choice([*map(str, DeadLetterState), _ALL]),
        default=str(default),
        show_default=True,
        help="Where it stands.",
    )


def _selection(given: dict[str, Any]) -> Selection:
    """Take the filters out of a command's arguments."""
    state = given.pop("state", _ALL)
    names = ("reason", "group", "order_id", "trace_id", "since", "until")
    selection = Selection(
        state=None if state == _ALL else DeadLetterState(state), **{name: given.pop(name) for name in names}
    )
    if selection.since is not None and selection.until is not None and selection.since >= selection.until:
        raise click.UsageError("--since is not before --until: nothing can match")
    return selection
