"""Tasks that run beside a worker's consumers."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from worker.domain.log import StructuredLogger

_RESTART_PAUSE = 2.0

_log = StructuredLogger("logistics.worker")


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Return when the first of these has ended, and cancel the others. Raises what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def end(tasks: Collection[asyncio.Task[None]], *, again_after: float = 5.0) -> None:
    """Cancel tasks until they have ended, however that was.

    Once is not enough: RabbitMQ's client goes on after some cancellations (measured: 2 of 61 that came while it
    connected). again_after: seconds; cancelling a task that is cleaning up would cut that short.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_after)


@dataclass(slots=True)
class Background:
    """Tasks that run beside the consumers and end with them."""

    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` until `stop`; a fault in it is logged, and it begins again."""
        self.tasks.append(asyncio.create_task(self._keep_running(work)))

    async def stop(self) -> None:
        """Cancel everything and wait for its end."""
        await end(self.tasks)

    @staticmethod
    async def _keep_running(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - a worker without its intake or its reports must not go on so
                _log.error("background.failed", exc_info=error)
            await asyncio.sleep(_RESTART_PAUSE)
