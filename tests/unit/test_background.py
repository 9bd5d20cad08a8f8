"""Ending tasks that run beside a worker's consumers."""

import asyncio

from worker.background import Background, end


class Stubborn:
    """Work that takes so many cancellations for something else, as RabbitMQ's client sometimes does."""

    def __init__(self, swallows: int) -> None:
        self.swallows = swallows
        self.cancelled = 0

    async def run(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled > self.swallows:
                    raise


async def test_tasks_end_though_they_take_cancellations_for_something_else() -> None:
    polite, stubborn = Stubborn(0), Stubborn(2)
    tasks = [asyncio.create_task(work.run()) for work in (polite, stubborn)]
    await asyncio.sleep(0)
    await end(tasks, again_after=0.01)
    assert all(task.cancelled() for task in tasks)
    assert (polite.cancelled, stubborn.cancelled) == (1, 3)


async def test_who_cleans_up_is_not_cancelled_again_meanwhile() -> None:
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            cleaned.set()

    background = Background()
    background.start(work)
    await asyncio.sleep(0.01)
    await background.stop()
    assert cleaned.is_set()


async def test_ending_nothing_returns_at_once() -> None:
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end([done])
    await end([])
