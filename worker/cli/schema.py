"""`logistics schema`."""

import json

import click

from worker.order_schema import order_schema

_EXAMPLES = """\b
Examples:
  logistics schema > order.schema.json
  check-jsonschema --schemafile order.schema.json order.json
"""


@click.command("schema", epilog=_EXAMPLES)
@click.option("--json", is_flag=True, expose_value=False, help="Changes nothing: it is always JSON.")
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of an order message.

    It is made from the model the worker checks orders with. What no schema can say is in its description.
    """
    click.echo(json.dumps(order_schema(), indent=2))
