"""SIGTERM and SIGINT: the first asks for an orderly end, a second one ends the process at once."""

import asyncio
import os
import signal
import time

from worker.domain.log import StructuredLogger

_SAME_SIGNAL = 0.05  # seconds: timeout(1) and others signal a process and then its group, which is one wish, not two

_log = StructuredLogger("logistics.worker")


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first signal sets."""
    stop, first_at = asyncio.Event(), 0.0

    def on_signal(number: int) -> None:
        nonlocal first_at
        if stop.is_set():
            if time.monotonic() - first_at > _SAME_SIGNAL:
                os._exit(128 + number)
            return
        first_at = time.monotonic()
        _log.info("worker.signal", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return stop
