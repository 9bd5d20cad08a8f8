"""Cyclic garbage of a worker that makes little of it goes all the same."""

import asyncio
import gc
import weakref

import pytest

from tests.support.system import eventually
from worker import garbage


class Knot:
    """An object that holds on to itself."""

    def __init__(self) -> None:
        self.itself = self


async def test_garbage_goes_although_the_threshold_is_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_EVERY", 0.01)
    thresholds = gc.get_threshold()
    garbage.collect_less_often()
    collecting = asyncio.create_task(garbage.keep_collecting())
    try:
        knot = weakref.ref(Knot())
        assert knot() is not None
        await eventually(lambda: knot() is None)
    finally:
        collecting.cancel()
        gc.set_threshold(*thresholds)
        gc.unfreeze()
