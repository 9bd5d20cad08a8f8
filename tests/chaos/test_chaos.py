"""The short form of `make chaos`: every kind of fault strikes once while thousands of orders flow."""

import os
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.faults import FAULTS
from tests.chaos.plan import plan
from tests.chaos.report import print_result
from tests.chaos.run import run

SEED = int(os.environ.get("LOGISTICS_CHAOS_SEED", "1"))
ORDERS, WORKERS = 3_000, 2


@pytest.mark.timeout(540)
async def test_nothing_is_lost_and_nothing_dispatched_twice_whatever_strikes(tmp_path: Path) -> None:
    result = await run(seed=SEED, orders=ORDERS, faults=len(FAULTS), workers=WORKERS, folder=tmp_path, say=print)
    print_result(Console(), result)
    assert result.is_sound
    assert result.confirmed == ORDERS
    assert result.faults.keys() == FAULTS.keys()
    assert result.account.duplicates_absorbed > 0  # answers were lost after a dispatch, and it was asked for again


def test_a_plan_follows_from_its_seed_alone() -> None:
    assert plan(7, faults=50) == plan(7, faults=50) != plan(8, faults=50)


@pytest.mark.parametrize("faults", [1, 26, 200])
def test_a_plan_has_as_many_faults_as_asked_for_and_every_kind_before_any_comes_again(faults: int) -> None:
    kinds = [strike.kind for storm in plan(1, faults=faults) for strike in storm.strikes]
    assert len(kinds) == faults
    assert len({*kinds}) == min(faults, len(FAULTS))


def test_in_a_storm_no_part_is_struck_by_two_faults_at_once() -> None:
    for storm in plan(3, faults=200):
        parts = [FAULTS[strike.kind][0] for strike in storm.strikes]
        assert len(parts) == len({*parts})
