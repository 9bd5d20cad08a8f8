"""The options of the replay commands."""

from collections.abc import Callable

import click

from worker.cli.dead_letter_filters import Utf8Text
from worker.domain.durations import parse_duration
from worker.domain.replay import Origin
from worker.domain.replay_job import ReplayOptions
from worker.domain.replay_jobs import MAX_RATE
from worker.settings import Settings

_DEFAULTS = ReplayOptions()


def duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that an option means."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
by_option = click.option("--by", metavar="NAME", type=Utf8Text(), help="Who does it, for the audit log.")
follow_option = click.option("--follow", "-f", is_flag=True, help="Watch it until it ends. Ctrl-C ends the watching.")
wait_option = click.option("--wait", metavar="DURATION", callback=duration, help="Watch it for so long: 30s, 5m.")


def options_for_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say how a job goes about it; `job_options` reads them."""
    rate = click.FloatRange(0, MAX_RATE, min_open=True)
    options = (
        click.option(
            "--canary",
            type=click.IntRange(0, 1000),
            default=_DEFAULTS.canary,
            show_default=True,
            help="So many go first; the rest follows when they are resolved. 0: none.",
        ),
        click.option("--rate", type=rate, default=_DEFAULTS.rate, show_default=True, help="Letters a second, at most."),
        click.option(
            "--start-rate",
            type=rate,
            default=_DEFAULTS.start_rate,
            show_default=True,
            help="Letters a second at first; doubles every 10 s up to --rate.",
        ),
        click.option(
            "--stop-share",
            type=click.IntRange(0, 100),
            default=round(_DEFAULTS.stop_share * 100),
            show_default=True,
            metavar="PERCENT",
            help="Stop when more of the last 100 outcomes failed again in the same way.",
        ),
        click.option(
            "--in-flight",
            type=click.IntRange(1, 100_000),
            default=_DEFAULTS.in_flight,
            show_default=True,
            help="Copies on their way at once, at most.",
        ),
        click.option(
            "--to-exchange", metavar="NAME", type=Utf8Text(), help="Send to this exchange, not to the origin."
        ),
        click.option("--to-key", metavar="KEY", type=Utf8Text(), help="With --to-exchange: the routing key."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def job_options(
    settings: Settings,
    *,
    canary: int,
    rate: float,
    start_rate: float,
    stop_share: int,
    in_flight: int,
    to_exchange: str | None,
    to_key: str | None,
) -> ReplayOptions:
    """Return what the options say. Raises click.UsageError for a key without an exchange, or the other way round."""
    return ReplayOptions(
        canary=canary,
        rate=rate,
        start_rate=min(start_rate, rate),
        stop_share=stop_share / 100,
        in_flight=in_flight,
        overdue_after=settings.replay_overdue,
        target=redirect(to_exchange, to_key),
    )


def redirect(exchange: str | None, key: str | None) -> Origin | None:
    """Return where --to-exchange and --to-key lead, None when they are not given."""
    if exchange is None and key is None:
        return None
    if exchange is None or key is None:
        raise click.UsageError("--to-exchange and --to-key go together (the default exchange is '')")
    return Origin(exchange, key)
