"""The comparison: bare consume, the plain job and the worker, one after the other, round by round."""

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.arena import Arena
from benchmarks.drain import Drain, measure, reach
from benchmarks.ledger import check_shipped_once
from benchmarks.low_load import seconds_to_shipped
from benchmarks.orders import order_ids, publish_all
from benchmarks.programs import BARE, PLAIN, WORKER, Program


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured of one program in one round."""

    drain: Drain
    to_shipped: list[float] = field(default_factory=list)
    """Seconds from publish to SHIPPED at low load, one an order; none of a program that ships nothing."""


Round = dict[str, Run]
"""One run of each program, by its name: close in time, so that their ratios say more than their figures."""


async def compare(
    arena: Arena, *, orders: int, rounds: int, low_load: float, say: Callable[[str], None]
) -> list[Round]:
    """Run every program in every round, in turns of order. `low_load`: seconds. Raises RunFailed."""
    done: list[Round] = []
    for number in range(rounds):
        shipping = (PLAIN, WORKER) if number % 2 == 0 else (WORKER, PLAIN)
        done.append({})
        for program in (BARE, *shipping):
            run = done[-1][program.name] = await run_one(arena, program, orders=orders, low_load=low_load)
            say(f"round {number + 1} of {rounds}: {program.name}: {run.drain.rate:,.0f} orders/s")
    return done


async def run_one(arena: Arena, program: Program, *, orders: int, low_load: float) -> Run:
    """Have the program work off a full queue, measured between its tenth and ninetieth percent; then low load."""
    await arena.set_behaviour()
    async with arena.fresh_place() as place:

        async def taken() -> int:
            return orders - await place.waiting()

        await publish_all(place.amqp_url, order_ids(orders))
        async with place.running(program.command) as process:
            drain = await measure(arena, process, taken, first=orders // 10, last=orders - orders // 10)
            await reach(process, taken, orders)
            if not program.ships:
                return Run(drain)
            await check_shipped_once(place, orders)
            to_shipped = await seconds_to_shipped(place, seconds=low_load)
            await check_shipped_once(place, orders + len(to_shipped))
            return Run(drain, to_shipped)
