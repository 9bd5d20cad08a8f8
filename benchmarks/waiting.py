"""`python -m benchmarks.waiting`: whether a long queue makes the worker slower, or larger."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
from rich.console import Console

from benchmarks.arena import Arena, Place, running_arena
from benchmarks.drain import Drain, Progress, RunFailed, measure, reach
from benchmarks.ledger import check_shipped_once
from benchmarks.orders import order_ids, publish_all
from benchmarks.programs import WORKER
from benchmarks.usage import most_memory_mb
from infra.local.errors import LocalServerError
from infra.telemetry.logs import setup_logging
from worker.cli.output import print_json

FEW = 10_000
GOAL = 0.9
"""The rate with many waiting, at least, in rates with few."""
_WARM = 1000
_MEASURED = 8000
_TELL_EVERY = 50_000


@dataclass(frozen=True, slots=True)
class Pair:
    """One round: the same stretch of work with few and with many orders waiting."""

    few: Drain
    many: Drain

    @property
    def ratio(self) -> float:
        """The rate with many waiting, in rates with few."""
        return self.many.rate / self.few.rate


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured."""

    pairs: Sequence[Pair]
    few_mb: float
    """The most memory a worker held that shipped 10,000 orders, the median of the rounds."""
    many_mb: float
    """The most memory a worker held that shipped all the rest of the long queue."""


@click.command()
@click.option("--orders", default=200_000, show_default=True, help="Orders in the long queue.")
@click.option("--rounds", default=5, show_default=True, help="Rounds; each measures once with few and once with many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def waiting(*, orders: int, rounds: int, as_json: bool) -> None:
    """Measure the worker's rate with few and with many orders waiting, and the memory it needs for either.

    Few are 10,000. Each round measures 8,000 orders of a queue of 10,000 and 8,000 of the long one; in the end one
    worker ships all that is left of the long one. A figure counts only if every order was shipped exactly once; else
    the exit code is 1.

    \b
    Examples:
      python -m benchmarks.waiting
      python -m benchmarks.waiting --orders 1000000 --rounds 3
    """
    least = FEW + rounds * FEW
    if orders < least:
        raise click.BadParameter(f"at least {least:,} for so many rounds", param_hint="--orders")
    setup_logging("ERROR")
    console = Console(stderr=True)
    try:
        found = asyncio.run(_measure(orders=orders, rounds=rounds, say=lambda line: console.print(line)))
    except (RunFailed, LocalServerError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json(_document(found))
    else:
        _show(Console(), found, orders)


async def _measure(*, orders: int, rounds: int, say: Callable[[str], None]) -> Found:
    with tempfile.TemporaryDirectory(prefix="logistics-bench-", ignore_cleanup_errors=True) as folder:
        async with running_arena(Path(folder)) as arena, arena.fresh_place() as long_queue:
            await arena.set_behaviour()
            await publish_all(long_queue.amqp_url, order_ids(orders, prefix="M"), say=_now_and_then(say))
            pairs: list[Pair] = []
            for number in range(rounds):
                few = await _few(arena, number, elsewhere=number * FEW + await _shipped(long_queue))
                pairs.append(Pair(few, await _some_of_many(arena, long_queue, orders)))
                say(f"with many waiting: {pairs[-1].ratio:.2f} of the rate with few")
            many_mb = await _ship_the_rest(long_queue, orders, elsewhere=rounds * FEW)
    return Found(pairs, median(pair.few.peak_mb for pair in pairs), many_mb)


async def _few(arena: Arena, number: int, *, elsewhere: int) -> Drain:
    """Have a worker ship a short queue; return what most of it took."""
    async with arena.fresh_place() as place:
        await publish_all(place.amqp_url, order_ids(FEW, prefix=f"F{number}"))
        async with place.running(WORKER.command) as process:
            drain = await measure(arena, process, _taken(place, FEW), first=_WARM, last=_WARM + _MEASURED)
            await reach(process, _taken(place, FEW), FEW)
            await check_shipped_once(place, FEW, elsewhere=elsewhere)
            return drain


async def _some_of_many(arena: Arena, place: Place, orders: int) -> Drain:
    """Have a worker begin with the long queue; return what as many orders took. It drains when it ends."""
    taken = _taken(place, orders)
    first = await taken() + _WARM
    async with place.running(WORKER.command) as process:
        return await measure(arena, process, taken, first=first, last=first + _MEASURED)


async def _ship_the_rest(place: Place, orders: int, *, elsewhere: int) -> float:
    """Have one worker ship all that is left; return the most memory it held."""
    async with place.running(WORKER.command) as process:
        await reach(process, _taken(place, orders), orders)
        await check_shipped_once(place, orders, elsewhere=elsewhere)
        return most_memory_mb(process.pid or 0)


def _taken(place: Place, orders: int) -> Progress:
    async def taken() -> int:
        return orders - await place.waiting()

    return taken


async def _shipped(place: Place) -> int:
    return await place.database["shipments"].count_documents({"status": "SHIPPED"})


def _now_and_then(say: Callable[[str], None]) -> Callable[[int], None]:
    def confirmed(count: int) -> None:
        if count % _TELL_EVERY == 0:
            say(f"{count:,} orders wait")

    return confirmed


def _document(found: Found) -> dict[str, object]:
    return {
        "rate_ratio": median(pair.ratio for pair in found.pairs),
        "goal": GOAL,
        "peak_mb": {"few": found.few_mb, "many": found.many_mb},
        "rounds": [{"few": pair.few.rate, "many": pair.many.rate} for pair in found.pairs],
    }


def _show(console: Console, found: Found, orders: int) -> None:
    ratios = [pair.ratio for pair in found.pairs]
    ratio = median(ratios)
    console.print(f"{orders:,} waiting: {ratio:.2f} ({min(ratios):.2f} … {max(ratios):.2f}) of the rate with {FEW:,}")
    console.print(f"goal: ≥ {GOAL:g}: {'reached' if ratio >= GOAL else 'missed'}")
    console.print(f"peak memory: {found.few_mb:.0f} MiB for {FEW:,} orders, {found.many_mb:.0f} MiB for the long queue")


if __name__ == "__main__":
    waiting()
