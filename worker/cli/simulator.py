"""`logistics supplier-simulator`."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from infra.supplier.simulator import CannotListen, SupplierSimulator, run_simulator
from infra.supplier.simulator_behaviour import Behaviour, WrongBehaviour, read_behaviour
from worker.domain.durations import parse_duration

_Command = TypeVar("_Command", bound=Callable[..., Any])

_ONLY_IN_FILE = {"rules"}


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _behaviour_options(command: _Command) -> _Command:
    """Give the command one option for each setting of the behaviour, so that none is forgotten here."""
    for name, field in reversed(Behaviour.model_fields.items()):
        if name in _ONLY_IN_FILE:
            continue
        flag, text = name.replace("_", "-"), f"{field.description}."
        if field.annotation is bool:
            option = click.option(f"--{flag}/--no-{flag}", default=None, help=text)
        elif name.endswith("_rate"):
            option = click.option(f"--{flag}", type=float, metavar="0..1", help=text)
        elif field.annotation is float:
            option = click.option(f"--{flag}", callback=_duration, metavar="DURATION", help=text)
        else:
            option = click.option(f"--{flag}", type=int, metavar="N", help=text)
        command = option(command)
    return command


@click.command("supplier-simulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes a free one.")
@click.option(
    "--behaviour",
    "file",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    metavar="FILE.json",
    help="Begin with the behaviour in this file, rules for single orders included; the other options change it.",
)
@_behaviour_options
def supplier_simulator(*, host: str, port: int, file: Path | None, **given: object) -> None:
    """Run a supplier to try things out with, until Ctrl-C or SIGTERM.

    It keeps the contract of the real one (POST /dispatches, Idempotency-Key) and misbehaves as told: slow, failing,
    refusing, silent, throttling. Without options it accepts everything at once. The rates share one throw of the dice
    for each request, so together they are at most 1.

    Everything can be changed while it runs. PATCH /simulator/behaviour takes the options below as JSON, with _ in place
    of -, durations in seconds, "retry_after": null for none; what is not named stays. "rules" are replaced as a whole.
    Each names what to "match" (a glob on the order id) and what is different for that: enabled, latency, and one of
    refuse, refuse_softly and status, or fail_first. PUT sets everything anew, GET shows it.

    What it was asked: GET /simulator/stats, /simulator/requests?limit=5, /simulator/dispatches/ORDER_ID. POST
    /simulator/reset forgets that.

    Exit codes: 0 ended by a signal, 1 it cannot listen there, 2 wrong use.

    \b
    Examples:
      logistics supplier-simulator
      logistics supplier-simulator --latency 200ms --failure-rate 0.1 --seed 7
      logistics supplier-simulator --throttle-rate 0.2 --retry-after 3
      logistics supplier-simulator --behaviour behaviour.json
    \b
    A behaviour.json that refuses some orders and fails others twice before it accepts them:
      {"latency": 0.05,
       "rules": [{"match": "NO-*", "refuse": true}, {"match": "FLAKY-*", "fail_first": 2}]}
    """
    behaviour = _behaviour(file, {name: value for name, value in given.items() if value is not None})
    try:
        asyncio.run(_until_signal(host, port, behaviour))
    except CannotListen as error:
        raise click.ClickException(str(error)) from error


def _behaviour(file: Path | None, given: dict[str, object]) -> Behaviour:
    try:
        base = read_behaviour(json.loads(file.read_text())) if file is not None else None
    except WrongBehaviour as error:
        raise click.BadParameter(str(error), param_hint="--behaviour") from error
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{file} is not JSON: {error}", param_hint="--behaviour") from error
    try:
        return read_behaviour(given, base=base)
    except WrongBehaviour as error:
        raise click.UsageError(str(error)) from error


async def _until_signal(host: str, port: int, behaviour: Behaviour) -> None:
    running = asyncio.create_task(run_simulator(host, port, behaviour, on_ready=_introduce))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        click.echo("stopped")


def _introduce(simulator: SupplierSimulator) -> None:
    url = simulator.url
    click.echo(
        f"""A simulated supplier listens at {url}

Point a worker at it:
  export LOGISTICS_SUPPLIER_URL={url}
Change it while it runs (what is not named stays):
  curl -X PATCH {url}/simulator/behaviour -d '{{"outage": true}}'
  curl -X PATCH {url}/simulator/behaviour -d '{{"outage": false, "failure_rate": 0.2}}'
See how it behaves, what it counted, what it was asked:
  curl {url}/simulator/behaviour
  curl {url}/simulator/stats
  curl '{url}/simulator/requests?limit=5'
Ctrl-C ends it."""
    )
