"""`logistics worker`."""

import asyncio
import os
import sys

import click

from infra.telemetry.logs import setup_logging
from worker.parts import CONSUMERS
from worker.settings import Settings, load_settings


def _consumer_names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return CONSUMERS
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    unknown = [name for name in names if name not in CONSUMERS]
    if unknown or not names:
        raise click.BadParameter(f"choose from {', '.join(CONSUMERS)}")
    return names


@click.command("worker")
@click.option(
    "--consumers",
    callback=_consumer_names,
    metavar="NAME[,NAME]",
    help=f"Run only these parts: {', '.join(CONSUMERS)}. All of them when not given.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Keep so many worker processes. LOGISTICS_PROCESSES, or 1, when not given. Linux.",
)
def work(consumers: tuple[str, ...], processes: int | None) -> None:
    """Take orders and ship them, note their delivery, file dead letters, replay; until SIGTERM or Ctrl-C.

    The first signal drains: nothing new is taken, what is in flight finishes within LOGISTICS_DRAIN_TIMEOUT, the rest
    goes back to its queue. A second signal ends it at once. Either way nothing is lost.

    Servers that are not there yet are waited for. Health is at /livez, /readyz and /metrics of LOGISTICS_HEALTH_ADDR.

    One process uses one processor core. When that core is full, and there are more, let several processes share the
    work: --processes 4. Each takes LOGISTICS_PREFETCH orders at once and has a circuit of its own. One that dies is
    started again, after 0.5 s, then ever later, up to 30 s; signals, health and metrics are those of all together.
    When it is the supplier that is slow and the core is idle, raise LOGISTICS_PREFETCH instead: it costs less memory.

    \b
    Examples:
      logistics worker
      logistics worker --processes 4
      logistics worker --consumers dead-letters,replays
    """
    settings = load_settings()
    write_last_lines = setup_logging(settings.log_level)
    code = 1
    try:
        code = _run(settings, consumers, processes or settings.processes)
    finally:
        if not write_last_lines():
            os._exit(code)  # nobody reads standard error: an orderly end would wait for that for ever
    sys.exit(code)


def _run(settings: Settings, consumers: tuple[str, ...], processes: int) -> int:
    # Imported where it is used: a supervisor holds nothing of what a worker consists of, and the other way round.
    if processes > 1:
        from worker.supervisor import supervise

        return asyncio.run(supervise(settings, processes=processes, consumers=consumers))
    import uvloop

    uvloop.run(_work(settings, consumers))
    return 0


async def _work(settings: Settings, consumers: tuple[str, ...]) -> None:
    from worker.bootstrap import Worker
    from worker.garbage import collect_less_often
    from worker.lifecycle import run_worker

    worker = Worker(settings, consumers=consumers)
    collect_less_often()
    await run_worker(worker)
