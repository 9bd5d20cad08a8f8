"""`logistics metrics`."""

import asyncio
from dataclasses import asdict
from pathlib import Path

import click

from infra.telemetry.logs import setup_logging
from infra.telemetry.overview_metrics import render_overview, samples_of
from worker.cli.output import target
from worker.documents import json_text
from worker.identity import program_version
from worker.overview import open_overview
from worker.settings import Settings, load_settings


@click.command("metrics")
@click.option("--json", "as_json", is_flag=True, help="The samples as one JSON document: name, labels, value.")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, whole or not at all, instead of standard output.",
)
def metrics(*, as_json: bool, output: Path | None) -> None:
    """Print what `logistics status` shows as metrics, in Prometheus' text format, once.

    Queue depths, workers by the state of their circuit, dead letters by state and reason, the oldest waiting order,
    the replay job: what no single worker knows. Each worker has a page of its own (/metrics of LOGISTICS_HEALTH_ADDR).
    For node_exporter's textfile collector, from cron, once a minute or so. docs/monitoring.md lists every metric.

    What cannot be asked is left out, and logistics_server_reachable says which server did not answer.

    Exit codes: 0 the page is made, whatever it says, 1 it cannot be written, 2 wrong use.

    \b
    Examples:
      logistics metrics
      logistics metrics --output /var/lib/prometheus/node-exporter/logistics.prom
      logistics metrics | promtool check metrics
      logistics metrics --json | jq '.[] | select(.name == "logistics_dead_letters_open")'
    """
    settings = load_settings()
    setup_logging("ERROR")
    page = asyncio.run(_page(settings))
    with target(output) as file:
        file.write(f"{json_text(samples_of(page), indent=2)}\n".encode() if as_json else page)


async def _page(settings: Settings) -> bytes:
    async with open_overview(settings) as service:
        return render_overview(asdict(await service.take()), version=program_version())
