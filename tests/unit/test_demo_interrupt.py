"""An interrupt ends the demo's story, whatever the clients make of a cancellation."""

import asyncio

import pytest

from worker.cli.demo import _until_interrupted


async def test_a_story_that_takes_two_cancellations_for_answers_is_ended_all_the_same() -> None:
    swallowed = 0

    async def story() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    running = asyncio.create_task(_until_interrupted(story()))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert swallowed == 2


async def test_what_ends_a_story_badly_is_told() -> None:
    async def story() -> None:
        raise ValueError("the books do not balance")

    with pytest.raises(ValueError, match="the books do not balance"):
        await _until_interrupted(story())
