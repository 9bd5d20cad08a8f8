"""`logistics schema`."""

import json

import click

from infra.rabbitmq.topology import Topology
from worker.asyncapi import asyncapi_document
from worker.cli.console_packages import imported
from worker.identity import program_version
from worker.order_schema import order_schema
from worker.settings import load_settings

_EXAMPLES = """\b
Examples:
  logistics schema > order.schema.json
  check-jsonschema --schemafile order.schema.json order.json
  logistics schema --asyncapi > asyncapi.json
  logistics schema --openapi > openapi.json
  logistics schema --asyncapi | jq '.channels["orders.work"].bindings.amqp'
"""


@click.command("schema", epilog=_EXAMPLES)
@click.option("--asyncapi", is_flag=True, help="The whole contract on RabbitMQ instead, as an AsyncAPI 3 document.")
@click.option("--openapi", is_flag=True, help="The console's JSON API instead, as an OpenAPI document.")
@click.option("--json", is_flag=True, expose_value=False, help="Changes nothing: it is always JSON.")
def schema(*, asyncapi: bool, openapi: bool) -> None:
    """Print the JSON Schema (draft 2020-12) of an order message.

    It is made from the model the worker checks orders with. What no schema can say is in its description.

    With --asyncapi: every exchange and queue with its arguments (the delays as in LOGISTICS_RETRY_DELAYS), and every
    message that goes through them: body, headers and their types, for orders, delivery notices, retries, dead letters
    and replays. AsyncAPI's tools make pages and clients of it.

    With --openapi: what the console answers at /api/openapi.json; needs its packages.
    """
    if asyncapi and openapi:
        raise click.UsageError("--asyncapi and --openapi exclude each other")
    if openapi:
        click.echo(json.dumps(imported("infra.console.api.openapi").api_document(), indent=2))
    elif asyncapi:
        topology = Topology(load_settings().retry_delays)
        click.echo(json.dumps(asyncapi_document(topology, version=program_version()), indent=2))
    else:
        click.echo(json.dumps(order_schema(), indent=2))
