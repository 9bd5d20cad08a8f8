"""How many orders to take at once: none while store, circuit or an operator say so, then few, then all."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from worker.domain.errors import StoreUnavailableError
from worker.domain.log import StructuredLogger
from worker.domain.outcome import Defer, Outcome

_RAMP_STEP = 0.5
_STORE_POLL = 1.0
_STORE_WORD = 15.0

_log = StructuredLogger("logistics.intake")


class ICircuit(Protocol):
    """What the intake needs to know of the circuit breaker."""

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        ...

    @property
    def retry_after(self) -> float:
        """Seconds until the circuit may be tried."""
        ...


class Intake:
    """Sets the intake limit of the subscribers to what store and supplier can take.

    Store down, or not seen yet: 0 everywhere until it answers. Circuit open: 0 for orders until it may be tried, then
    1, the probe. Circuit closed again: doubling from 1, so that a backlog does not burst onto a supplier just back.
    Paused by hand: 0 for orders, and doubling from 1 afterwards, too.
    """

    def __init__(self, *, prefetch: int, circuit: ICircuit, prepare_store: Callable[[], Awaitable[None]]) -> None:
        """`prepare_store` returns when the store is ready to work with, or raises StoreUnavailableError."""
        self._prefetch = prefetch
        self._circuit = circuit
        self._prepare_store = prepare_store
        self._orders: Callable[[int], None] = lambda _: None
        self._others: list[tuple[Callable[[int], None], int]] = []
        self._limit = prefetch
        self._paused = False
        self._store_down = True  # until it has answered once
        self._wake = asyncio.Event()

    @property
    def store_is_down(self) -> bool:
        """Whether intake is paused because the store does not answer."""
        return self._store_down

    @property
    def limit(self) -> int:
        """How many orders may be in flight now."""
        return 0 if self._store_down else self._limit

    def steer_orders(self, set_limit: Callable[[int], None]) -> None:
        """Steer the order subscriber, by circuit and store."""
        self._orders = set_limit

    def steer_other(self, set_limit: Callable[[int], None], *, prefetch: int) -> None:
        """Steer another subscriber, by the store alone: to this prefetch, or 0."""
        self._others.append((set_limit, prefetch))

    def steer_by_hand(self, *, paused: bool, prefetch: int) -> None:
        """Take no orders while paused, else at most so many at once; from now on."""
        if (paused, prefetch) == (self._paused, self._prefetch):
            return
        self._paused, self._prefetch = paused, prefetch
        self._limit = 0 if paused else min(self._limit, prefetch)
        self._apply()
        self._wake.set()

    def circuit_changed(self) -> None:
        """Look at the circuit again, now."""
        self._wake.set()

    def watch(self, outcome: Outcome) -> None:
        """Notice from an outcome that the store is down."""
        if isinstance(outcome, Defer) and isinstance(outcome.error, StoreUnavailableError) and not self._store_down:
            self._store_down = True
            _log.warning("intake.paused", why=str(outcome.error))
            self._apply()
            self._wake.set()

    async def run(self) -> None:
        """Steer until cancelled."""
        while True:
            self._wake.clear()
            if self._store_down:
                await self._wait_for_store()
            pause = self._next_step()
            self._apply()
            await self._sleep(pause)

    def _next_step(self) -> float | None:
        """Move the order limit one step towards what the circuit allows; return when to look again, None for never."""
        state, before = self._circuit.state, self._limit
        if self._paused:
            self._limit = 0
            return None
        if state == "open":
            wait = self._circuit.retry_after
            self._limit = 0 if wait > 0 else 1
            if self._limit != before:
                _log.info("intake.probing" if self._limit else "intake.paused", why="the circuit is open", seconds=wait)
            return wait if wait > 0 else None
        if state == "half_open":
            self._limit = 1
            return None
        self._limit = min(max(before * 2, 1), self._prefetch)
        if self._limit == self._prefetch and before != self._prefetch:
            _log.info("intake.resumed", limit=self._limit)
        return None if self._limit == self._prefetch else _RAMP_STEP

    async def _wait_for_store(self) -> None:
        next_word = 0.0
        while self._store_down:
            try:
                await self._prepare_store()
            except StoreUnavailableError as error:
                if time.monotonic() >= next_word:
                    _log.warning("store.unreachable", error=str(error), asking_every=_STORE_POLL)
                    next_word = time.monotonic() + _STORE_WORD
                await asyncio.sleep(_STORE_POLL)
            except Exception as error:  # noqa: BLE001 - such as an index that cannot be made; it can be mended meanwhile
                _log.error("store.unusable", error=f"{type(error).__name__}: {error}", next_try_in=_STORE_WORD)
                await asyncio.sleep(_STORE_WORD)
            else:
                self._store_down = False
                _log.info("store.ready")

    def _apply(self) -> None:
        self._orders(self.limit)
        for set_limit, prefetch in self._others:
            set_limit(0 if self._store_down else prefetch)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
