"""`logistics status`."""

import asyncio
import sys

import click
from rich.console import Console

from infra.telemetry.logs import setup_logging
from worker.cli.output import print_json
from worker.cli.status_view import show
from worker.cli.status_watch import watch
from worker.overview import open_overview
from worker.overview_documents import overview_document
from worker.overview_picture import Overview
from worker.settings import Settings, load_settings


@click.command("status")
@click.option("--watch", "is_live", is_flag=True, help="Keep looking, twice a second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else there.")
def status(*, is_live: bool, as_json: bool) -> None:
    """Show queues, workers, circuit breakers, shipments and dead letters at one look.

    What is wrong stands on top, in words. A worker reports every 2 s; one not heard of for 15 s is shown as lost, and
    disappears an hour later. Unacknowledged is what the workers say they have in flight: AMQP does not tell it. The
    age of the oldest waiting order is an upper bound, found without touching the queue; only an order that a worker
    held and gave back by dying may be older.

    If RabbitMQ or MongoDB cannot be reached the rest is shown all the same.

    With --watch the figures have the line of their last hour beside them, where nobody looked a gap; what cannot be
    asked is shown as it was last known. In a pipe each look is a line; with --json, a JSON document.

    Exit codes: 0 everything could be asked (whatever it says), or --watch was ended with Ctrl-C; 1 RabbitMQ or MongoDB
    cannot be reached, 2 wrong use.

    \b
    Examples:
      logistics status
      logistics status --watch
      logistics status --json | jq .problems
      logistics status --watch --json | jq --unbuffered .rates.shipped
      logistics status --json | jq '.queues[] | select(.name == "orders.work").ready'
    """
    settings = load_settings()
    setup_logging("ERROR")
    if is_live:
        asyncio.run(watch(settings, as_json=as_json))
        return
    overview = asyncio.run(_take(settings))
    if as_json:
        print_json(overview_document(overview))
    else:
        show(overview, Console())
    sys.exit(1 if overview.unreachable else 0)


async def _take(settings: Settings) -> Overview:
    async with open_overview(settings) as service:
        return await service.take()
