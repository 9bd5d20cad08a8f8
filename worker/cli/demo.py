"""`logistics demo`: the whole system on this machine, for a minute or for as long as you like."""

import asyncio
import os
import shlex
import signal
import types
from collections.abc import Callable, Coroutine
from typing import Any

import click

from infra.local.errors import LocalServerError
from infra.local.parent import end_with_parent
from worker.background import end
from worker.demo.stack import Say, Stack
from worker.demo.story import SETTINGS, Story
from worker.demo.view import DemoView
from worker.domain.errors import LogisticsError
from worker.private_stack import CONSOLE_VARIABLE, ITS_OWN, data_dir, up_stack
from worker.settings import load_settings

_CANCEL_EVERY = 0.5  # seconds


@click.group(invoke_without_command=True)
@click.option("--orders", default=1000, show_default=True, type=click.IntRange(100, 20_000), help="How many.")
@click.option("--keep", is_flag=True, help="Leave it running when the story is told, until Ctrl-C.")
@click.pass_context
def demo(context: click.Context, orders: int, *, keep: bool) -> None:
    """Show everything in about a minute, on private servers that end with it.

    Publishes good, flaky, refused and malformed orders, takes the supplier down until the circuit opens, breaks one
    warehouse, accounts for every order in a table, fixes the warehouse and replays its dead letters. The console, a
    web page at the address that is printed first, shows it all while it happens.

    \b
      logistics demo          run the story
      logistics demo --keep   run it, and leave the console to look around in
      logistics demo up       leave the same stack running, to play with
      logistics demo env      print its settings:  eval "$(logistics demo env)"
      logistics demo down     end it
    """
    if context.invoked_subcommand is None:
        _run(orders, keep=keep)


@demo.command()
def up() -> None:
    """Start the stack and leave it running: RabbitMQ, MongoDB, a supplier simulator, a worker, the console."""
    view, stack = DemoView(), up_stack(os.environ, settings=SETTINGS)
    running = stack.environment()
    if running is None:
        running = _start(stack.start_detached, view)
    view.say("running; commands in this folder find it by themselves, for example:")
    click.echo("\n    .venv/bin/logistics publish --order-id o-1 --destination Oslo\n    .venv/bin/logistics status\n")
    click.echo(_exports(running))
    _show_console(view, running)
    click.echo("\nEnd it with: make down")


@demo.command()
def env() -> None:
    """Print the settings that lead to the running stack, as shell commands."""
    running = up_stack(os.environ).environment()
    if running is None:
        raise LogisticsError("no stack is up in this folder: make up")
    click.echo(_exports(running))


@demo.command()
def down() -> None:
    """Stop the stack that `up` started."""
    stopped = up_stack(os.environ).stop()
    click.echo("stopped" if stopped else "nothing was running here")


def _run(orders: int, *, keep: bool) -> None:
    end_with_parent()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    view = DemoView()
    stack = Stack(data_dir(os.environ) / "demo", settings=SETTINGS)
    try:
        environment = _start(stack.start, view)
        _show_console(view, environment)
        asyncio.run(_until_interrupted(Story(load_settings(environment), view).tell(orders)))
        view.headline("done: every order is accounted for, none was dispatched twice")
        if keep:
            _show_console(view, environment)
            view.say("everything keeps running: Ctrl-C ends it")
            signal.pause()
    except KeyboardInterrupt:
        view.say("interrupted")
        raise click.exceptions.Exit(130) from None
    finally:
        view.say("stopping everything")
        stack.stop()


async def _until_interrupted(story: Coroutine[Any, Any, None]) -> None:
    """Run the story to its end, or until this task is cancelled, as Ctrl-C does."""
    telling = asyncio.create_task(story)
    try:
        await asyncio.wait([telling])
    except asyncio.CancelledError:
        await end([telling], again_after=_CANCEL_EVERY)
        raise
    telling.result()


def _start(start: Callable[[Say], dict[str, str]], view: DemoView) -> dict[str, str]:
    try:
        return start(view.say)
    except LocalServerError as error:
        raise LogisticsError(str(error)) from error


def _show_console(view: DemoView, environment: dict[str, str]) -> None:
    if CONSOLE_VARIABLE in environment:
        view.say(f"watch it in a browser: http://{environment[CONSOLE_VARIABLE]}")


def _interrupt(number: int, _: types.FrameType | None) -> None:
    del number
    raise KeyboardInterrupt


def _exports(environment: dict[str, str]) -> str:
    shown = {name: value for name, value in environment.items() if name not in ITS_OWN}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(shown.items()))
