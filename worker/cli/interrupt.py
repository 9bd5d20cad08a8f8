"""Ending what runs until somebody has seen enough."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[asyncio.Event]:
    """Yield an event that the first of these signals sets (Ctrl-C, where none is named); a second ends the program."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()
    numbers = signals or (signal.SIGINT,)

    def stop_listening() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    def interrupt() -> None:
        interrupted.set()
        stop_listening()

    for number in numbers:
        loop.add_signal_handler(number, interrupt)
    try:
        yield interrupted
    finally:
        stop_listening()
