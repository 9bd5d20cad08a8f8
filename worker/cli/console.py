"""`logistics console`."""

import asyncio
import os
import sys
from pathlib import Path

import click

from infra.telemetry.logs import setup_logging
from worker.cli.console_packages import imported
from worker.cli.dead_letter_store import operator_name
from worker.settings import Settings, load_settings


@click.group("console", invoke_without_command=True)
@click.option("--addr", metavar="HOST:PORT", help="Where to listen, in the place of LOGISTICS_CONSOLE_ADDR.")
@click.pass_context
def console(ctx: click.Context, addr: str | None) -> None:
    """Serve the console: the page where people watch the system and act, and its JSON API.

    On 127.0.0.1:8080, unless LOGISTICS_CONSOLE_ADDR or --addr names another address. Bound to this machine alone it
    asks nobody who they are: whoever can reach it may do everything, as you. Bound to any other address it starts only
    with sign-in set up: a users file, or a proxy that signs people in (docs/console.md).

    \b
    Examples:
      logistics console
      logistics console --addr 127.0.0.1:9000
      logistics console add-user anna --role operator --file users
    """
    if ctx.invoked_subcommand is None:
        _serve(load_settings({**os.environ, **({"LOGISTICS_CONSOLE_ADDR": addr} if addr is not None else {})}))


@console.command("add-user")
@click.argument("name")
@click.option("--role", type=click.Choice(["reader", "operator", "admin"]), required=True, help="What they may do.")
@click.option("--token", "by_token", is_flag=True, help="A program, with a token instead of a password.")
@click.option(
    "--proxy", "by_proxy", is_flag=True, help="Somebody who signs in to a trusted proxy, which names no role."
)
@click.option(
    "--file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The users file, in the place of LOGISTICS_CONSOLE_USERS_FILE; - prints the user's line instead.",
)
def add_user(*, name: str, role: str, by_token: bool, by_proxy: bool, file: Path | None) -> None:
    """Let somebody sign in to the console, or change who they are there; a running console takes it up at once.

    A reader sees everything but destinations and bodies, and changes nothing. An operator replays, edits, discards and
    restores dead letters. An admin controls the workers, too. A password is asked for; from a pipe it is one line. A
    token is made and printed, once: the file keeps what it is recognized by. To remove a user, remove their line.

    \b
    Examples:
      logistics console add-user anna --role operator --file users
      logistics console add-user prometheus --role reader --token --file users > prometheus.token
      pass show console/anna | logistics console add-user anna --role admin --file users
      logistics console add-user anna --role admin --file - >> users
    """
    if by_token and by_proxy:
        raise click.UsageError("--token and --proxy exclude each other")
    path = file or Path(load_settings().console_users_file or "")
    if path == Path():
        raise click.UsageError("say which file: --file, or LOGISTICS_CONSOLE_USERS_FILE")
    passwords = imported("infra.console.access.passwords")
    token = passwords.new_token() if by_token else None
    if token is not None:
        kept = passwords.hash_token(token)
    else:
        kept = passwords.BY_PROXY if by_proxy else passwords.hash_password(_password(passwords.MIN_LENGTH))
    _put(path, name, role, kept)
    if token is not None:
        click.echo(token, err=path == Path("-"))


def _put(path: Path, name: str, role: str, kept: str) -> None:
    """Write the user's line into the file, or print it."""
    users = imported("infra.console.access.users")
    try:
        if path == Path("-"):
            click.echo(users.new_user(name, role, kept).line)
        else:
            users.put_user(path, users.new_user(name, role, kept))
            click.echo(f"{name} is {role} in {path}", err=True)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from None


def _password(min_length: int) -> str:
    """Return the password that is typed twice, or piped in once."""
    if sys.stdin.isatty():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        password = sys.stdin.readline().removesuffix("\n")
    if len(password) < min_length:
        raise click.UsageError(f"a password has at least {min_length} characters: a few words are easy to remember")
    return password


def _serve(settings: Settings) -> None:
    server = imported("infra.console.server")
    write_last_lines = setup_logging(settings.log_level)
    try:
        asyncio.run(server.serve(settings, operator=operator_name(settings)))
    finally:
        write_last_lines()
