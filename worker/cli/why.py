"""`--why`: the reason that the audit log keeps of whatever moves dead letters."""

from collections.abc import Callable

import click

from worker.cli.dead_letter_filters import Utf8Text

Command = Callable[..., None]


def why_option(command: Command) -> Command:
    """Give a command `--why`; `checked_why` reads it."""
    return click.option(
        "--why", metavar="TEXT", type=Utf8Text(), help="Why, for the audit log. Needed but for a dry run."
    )(command)


def checked_why(why: str | None, *, dry_run: bool) -> str:
    """Return the reason. Raises click.UsageError when none is given for what is no dry run."""
    reason = (why or "").strip()
    if not reason and not dry_run:
        raise click.UsageError("say why, for the audit log: --why 'supplier fixed at 03:10'")
    return reason
