"""`logistics topology`."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import click

from infra.rabbitmq import topology_check
from infra.rabbitmq.topology import Topology
from infra.rabbitmq.topology_check import Difference
from infra.telemetry.logs import setup_logging
from worker.cli.output import plain, print_json
from worker.settings import load_settings
from worker.topology_remedy import in_words, is_missing, remedy

_json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else there."
)


@click.group("topology")
def topology() -> None:
    """Create the exchanges and queues, or compare them with what the broker has.

    No command here deletes or empties anything.
    """


@topology.command("declare")
@_json_option
def declare(*, as_json: bool) -> None:
    """Create the exchanges, queues and bindings that are missing.

    What is there already stays as it is. If something of that name differs nothing is created; what to do about it is
    said. Every worker does the same when it starts, so this is for preparing a broker beforehand.

    Exit codes: 0 everything is there, 1 something differs or RabbitMQ cannot be reached, 2 wrong use.

    \b
    Examples:
      logistics topology declare
      LOGISTICS_RETRY_DELAYS=1s,10s,1m logistics topology declare
    """
    wanted, url = _wanted()
    differences = asyncio.run(_declare(wanted, url))
    differing = [difference for difference in differences if not is_missing(difference)]
    created = [] if differing else [difference.name for difference in differences]
    if as_json:
        print_json({"ok": not differing, "created": created, "differences": _documents(differing, wanted)})
    elif differing:
        click.echo("Nothing was created, because the broker has something else under these names:\n")
        _show(differing, wanted)
    else:
        click.echo("\n".join(f"created {name}" for name in created) or "Everything was there already.")
    sys.exit(1 if differing else 0)


@topology.command("verify")
@_json_option
def verify(*, as_json: bool) -> None:
    """Report every exchange and queue that is missing or differs, and what to do. Changes nothing.

    Bindings cannot be asked for over AMQP: 'logistics topology declare' restores a missing one.

    Exit codes: 0 all is as it should be, 1 something differs or RabbitMQ cannot be reached, 2 wrong use.

    \b
    Examples:
      logistics topology verify
      logistics topology verify --json | jq -r '.differences[] | .name + ": " + .problem'
    """
    wanted, url = _wanted()
    differences = asyncio.run(topology_check.differences(wanted, url))
    if as_json:
        print_json({"ok": not differences, "differences": _documents(differences, wanted)})
    elif differences:
        _show(differences, wanted)
    else:
        click.echo(f"All {len(wanted.exchanges)} exchanges and {len(wanted.queues)} queues are as they should be.")
    sys.exit(1 if differences else 0)


def _wanted() -> tuple[Topology, str]:
    settings = load_settings()
    setup_logging("ERROR")
    return Topology(settings.retry_delays), settings.required("amqp_url")


async def _declare(wanted: Topology, url: str) -> list[Difference]:
    """Create what is missing unless something differs; return what was missing or differs."""
    differences = await topology_check.differences(wanted, url)
    if all(is_missing(difference) for difference in differences):
        await wanted.ensure(url)
    return differences


def _documents(differences: Sequence[Difference], wanted: Topology) -> list[dict[str, Any]]:
    return [
        {"name": difference.name, "problem": difference.problem, "remedy": _remedy(difference, differences, wanted)}
        for difference in differences
    ]


def _show(differences: Sequence[Difference], wanted: Topology) -> None:
    """Print each difference, and below those that share it, what to do."""
    by_remedy: dict[str, list[Difference]] = {}
    for difference in differences:
        by_remedy.setdefault(_remedy(difference, differences, wanted), []).append(difference)
    for what_to_do, alike in by_remedy.items():
        for difference in alike:
            click.echo(plain(in_words(difference)))
        click.echo(f"  what to do: {what_to_do}.\n")


def _remedy(difference: Difference, differences: Sequence[Difference], wanted: Topology) -> str:
    return remedy(difference, delays=wanted.delay_labels, differing=differences)
