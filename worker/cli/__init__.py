"""The command `logistics`."""

import importlib
import io
import sys

import click

from worker.domain.errors import ConfigurationError, LogisticsError

COMMANDS = {
    "demo": "worker.cli.demo:demo",
    "worker": "worker.cli.work:work",
    "publish": "worker.cli.publish:publish",
    "dead-letters": "worker.cli.dead_letters:dead_letters",
    "audit": "worker.cli.audit:audit",
    "replay": "worker.cli.replay:replay",
    "workers": "worker.cli.workers:workers",
    "status": "worker.cli.status:status",
    "metrics": "worker.cli.metrics:metrics",
    "console": "worker.cli.console:console",
    "topology": "worker.cli.topology:topology",
    "doctor": "worker.cli.doctor:doctor",
    "supplier-simulator": "worker.cli.simulator:supplier_simulator",
    "schema": "worker.cli.schema:schema",
}
"""Where each command is."""


class _Commands(click.Group):
    """Imports a command's module only when it is asked for, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, imported."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="logistics", prog_name="logistics")
def cli() -> None:
    """Ship orders from RabbitMQ through a supplier, losing none and dispatching none twice.

    Start with `logistics demo`: it needs nothing and shows everything. Settings are environment variables with the
    prefix LOGISTICS_ (the README lists them); `logistics doctor` says what is wrong with them and with the servers.

    Exit codes: 0 done, 1 failed, 2 wrong use.
    """


def main() -> None:
    """Run the command line; an error of ours is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII only is no reason to fail
    try:
        cli(prog_name="logistics")
    except ConfigurationError as error:
        _fail(error, code=2)
    except LogisticsError as error:
        _fail(error, code=1)


def _fail(error: LogisticsError, *, code: int) -> None:
    click.echo(f"logistics: {error}", err=True)
    sys.exit(code)
