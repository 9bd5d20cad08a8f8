"""`logistics publish`."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from click.core import ParameterSource

from infra.rabbitmq.order_publisher import OrderMessage, OrderPublisher, PublishedOrder, order_body
from infra.telemetry.logs import setup_logging
from worker.cli.publish_lines import Connect, LineOptions, publish_file
from worker.domain.durations import parse_duration
from worker.domain.errors import PublishError
from worker.publishing import DEFAULT_IN_FLIGHT
from worker.settings import load_settings
from worker.spans import SPANS_TIMEOUT, open_tracing

_FOR_ONE = ("order_id", "destination", "fields", "trace_id", "traceparent")
_FOR_LINES = ("strict", "from_line", "in_flight")


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _fields(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r}: write it as name=value")
        if name in fields or name in {"order_id", "destination"}:
            raise click.BadParameter(f"{name!r} is given twice")
        fields[name] = _json_or_text(value)
    return fields


def _json_or_text(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


_EXAMPLES = """\b
Examples:
  logistics publish --order-id A-1001 --destination Berlin
  logistics publish --order-id A-1002 --destination Oslo --field weight_kg=2.5 --field 'tags=["fragile"]'
  logistics publish --file orders.jsonl
  logistics publish --file orders.jsonl --from-line 51234
  zcat orders.jsonl.gz | logistics publish --file - --json
"""


@click.command("publish", epilog=_EXAMPLES)
@click.option("--order-id", metavar="ID", help="The order's id. The same id again is the same order: shipped once.")
@click.option("--destination", metavar="TEXT", help="Where the goods go.")
@click.option(
    "--field",
    "fields",
    multiple=True,
    callback=_fields,
    metavar="NAME=VALUE",
    help="Another field of the order, any number of them. A value that is JSON is taken as JSON, else as text.",
)
@click.option("--trace-id", metavar="ID", help="Follow the order by this id. Made from the order id when not given.")
@click.option("--traceparent", metavar="W3C", help="Continue this trace (W3C traceparent).")
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
    metavar="PATH",
    help="Publish every line of this JSON Lines file, one order a line; - is standard input.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 10_000),
    default=DEFAULT_IN_FLIGHT,
    show_default=True,
    metavar="N",
    help="With --file: how many orders may wait for the broker's confirm at once.",
)
@click.option("--strict", is_flag=True, help="With --file: stop at the first line that is not an order.")
@click.option(
    "--from-line",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="With --file: begin at line N, to resume where an earlier run stopped.",
)
@click.option(
    "--give-up-after",
    type=_Duration(),
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="How long to try again for an order while RabbitMQ is away.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, nothing else there.")
@click.pass_context
def publish(ctx: click.Context, /, *, path: str | None, give_up_after: float, as_json: bool, **given: Any) -> None:
    """Publish one order, or every line of a JSON Lines file.

    An order is checked before it is sent exactly as the worker checks it, and counts as published when RabbitMQ has
    confirmed that it is on disk. Publishing an order again is harmless: it is shipped once.

    Lines that are not orders are reported on standard error (`line 17: destination: Field required`) and the rest goes
    on. If RabbitMQ is gone for good, or on Ctrl-C, the line to resume from is named.

    Exit codes: 0 all is confirmed, 1 something was refused or not confirmed, 2 wrong use.
    """
    _check_use(ctx, path)
    settings = load_settings()
    setup_logging("ERROR")

    tracing = open_tracing(settings, service="logistics-publish", instance=f"logistics publish {os.getpid()}")
    ctx.call_on_close(lambda: tracing.close(timeout=SPANS_TIMEOUT))

    def connect(on_outage: Callable[[PublishError], None]) -> OrderPublisher:
        return OrderPublisher(
            settings.required("amqp_url"),
            name="logistics publish",
            max_body_bytes=settings.max_body_bytes,
            give_up_after=give_up_after,
            on_outage=on_outage,
            tracing=tracing,
        )

    if path is None:
        _publish_one(connect, as_json=as_json, **{name: given[name] for name in _FOR_ONE})
        return
    options = {name: given[name] for name in _FOR_LINES}
    if not publish_file(connect, LineOptions(path=path, max_bytes=settings.max_body_bytes, as_json=as_json, **options)):
        sys.exit(1)


def _check_use(ctx: click.Context, path: str | None) -> None:
    set_here = {name for name in ctx.params if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    if path is None and not {"order_id", "destination"} <= set_here:
        raise click.UsageError("give --order-id and --destination for one order, or --file for many")
    for name in _FOR_ONE if path is not None else _FOR_LINES:
        if name in set_here:
            option = next(each.opts[0] for each in ctx.command.params if each.name == name)
            raise click.UsageError(f"{option} is for {'one order' if path is not None else '--file'} only")


def _publish_one(
    connect: Connect,
    *,
    order_id: str,
    destination: str,
    fields: dict[str, object],
    trace_id: str | None,
    traceparent: str | None,
    as_json: bool,
) -> None:
    publisher = connect(lambda error: click.echo(f"{error}; trying again", err=True))
    body = order_body(order_id=order_id, destination=destination, extra=fields)
    try:
        order = publisher.prepare(body, trace_id=trace_id, traceparent=traceparent)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    published = asyncio.run(_send(publisher, order))
    if as_json:
        click.echo(json.dumps(asdict(published), indent=2))
        return
    click.echo(f"Published order {published.order_id}")
    for name in ("message_id", "trace_id", "traceparent"):
        click.echo(f"  {name:<12} {getattr(published, name)}")


async def _send(publisher: OrderPublisher, order: OrderMessage) -> PublishedOrder:
    async with publisher:
        return await publisher.send(order)
