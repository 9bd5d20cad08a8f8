"""The circuit breaker: aiobreaker's states, counting and listeners behind a guard for what it leaves open.

The guard adds: one probe at a time when half-open, a monotonic clock, the caller's own error instead of the breaker's,
results that count only when the state has not changed since the call began, a cancelled probe that frees its place,
how long until the circuit may be tried, and a hand that holds it open.
"""

import functools
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from typing import ParamSpec, TypeVar

import aiobreaker
from aiobreaker.state import CircuitBreakerBaseState

from worker.domain.errors import (
    CircuitBreakerOpenException,
    SupplierOutcomeUnknownError,
    SupplierRejectedError,
    SupplierUnavailableError,
)

P = ParamSpec("P")
T = TypeVar("T")

_FAILURES = (SupplierUnavailableError, SupplierOutcomeUnknownError)
_LONGEST_HINT = 300.0


class CircuitState(StrEnum):
    """What the breaker does with a call: let it through, refuse it, or let one through to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Refuses calls while the other side is known to be broken.

    Opens after `failure_threshold` failures in a row, for `recovery_timeout` seconds. Opens at once when the other side
    asks for a pause with a Retry-After, for that long (at most 5 minutes): it asked this client, not this one call.
    Then one call probes; when that fails too, it opens for the longer of the two.
    """

    def __init__(
        self,
        *,
        failure_threshold: int,
        recovery_timeout: float,
        on_change: Callable[[CircuitState], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recovery_timeout = recovery_timeout
        self._on_change = on_change
        self._clock = clock
        self._state = CircuitState.CLOSED
        self._generation = 0
        self._open_until = 0.0
        self._hint = 0.0
        self._probing = False
        self._left_closed_at = 0.0
        self.openings = 0
        """Times it has left the state closed."""
        self._held_open: str | None = None
        self.last_failure: str | None = None
        """The last failure that counted, in words."""
        self._breaker = aiobreaker.CircuitBreaker(
            fail_max=failure_threshold,
            timeout_duration=timedelta(seconds=recovery_timeout),
            listeners=[_Listener(self._changed)],
        )

    @property
    def state(self) -> CircuitState:
        """Where the circuit stands."""
        return self._state

    @property
    def retry_after(self) -> float:
        """Seconds until the circuit may be tried; 0 when it may be now. Held open: after which to look again."""
        if self._held_open is not None:
            return self._recovery_timeout
        return max(self._open_until - self._clock(), 0.0) if self.state is CircuitState.OPEN else 0.0

    @property
    def open_for(self) -> float:
        """Seconds since it left the state closed; 0 while it is closed."""
        return 0.0 if self.state is CircuitState.CLOSED else self._clock() - self._left_closed_at

    @property
    def held_open(self) -> str | None:
        """Who holds it open by hand and why; None: nobody."""
        return self._held_open

    def hold_open(self, why: str) -> None:
        """Refuse every call, with these words and without probing, until `reset`."""
        before, self._held_open = self._held_open, why
        if self._state is not CircuitState.OPEN:
            self._breaker.open()
        elif before is None:
            self._on_change(CircuitState.OPEN)

    def reset(self) -> None:
        """Close it now, whoever or whatever has opened it; what is under way does not count any more."""
        self._held_open = None
        if self._state is not CircuitState.CLOSED:
            self._breaker.close()

    async def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` through the circuit; its own result or error comes back.

        Raises CircuitBreakerOpenException when the circuit refuses the call.
        """
        generation = self._enter()
        try:
            result = await function(*args, **kwargs)
        except _FAILURES as error:
            self._report(generation, error)
            raise
        except SupplierRejectedError:
            self._report(generation, None)  # a no is an answer: the supplier works
            raise
        except BaseException:
            self._leave(generation)  # cancelled, or a fault of ours: says nothing about the supplier
            raise
        self._report(generation, None)
        return result

    def _enter(self) -> int:
        if self._held_open is not None:
            raise CircuitBreakerOpenException(self.retry_after, by_hand=self._held_open)
        if self.state is CircuitState.OPEN:
            if self.retry_after > 0:
                raise CircuitBreakerOpenException(self.retry_after)
            self._breaker.half_open()
        if self.state is CircuitState.HALF_OPEN:
            if self._probing:
                raise CircuitBreakerOpenException(self._recovery_timeout)
            self._probing = True
        return self._generation

    def _leave(self, generation: int) -> None:
        if generation == self._generation:
            self._probing = False

    def _report(self, generation: int, error: Exception | None) -> None:
        """Have aiobreaker count a result, unless the state changed while the call was under way."""
        if generation != self._generation:
            return
        self._probing = False
        self._hint = min(getattr(error, "retry_after", None) or 0.0, _LONGEST_HINT)
        if error is not None:
            self.last_failure = str(error)[:300]
        if self._hint > 0 and error is not None:
            self._breaker.open()
            return
        try:
            self._breaker.call(_outcome_of, error)
        except aiobreaker.CircuitBreakerError:
            pass  # what it says (the circuit opened) is known from the state; the caller gets the real error
        except _FAILURES:
            pass

    def _changed(self, state: CircuitState) -> None:
        before, self._state = self._state, state
        self._generation += 1
        self._probing = False
        if before is CircuitState.CLOSED:
            self._left_closed_at = self._clock()
            self.openings += 1
        if state is CircuitState.OPEN:
            asked_for = self._hint > 0 and before is CircuitState.CLOSED
            self._open_until = self._clock() + (self._hint if asked_for else max(self._recovery_timeout, self._hint))
        self._on_change(state)


def resilient(circuit: CircuitBreaker) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Return a decorator that sends every call of a coroutine function through the circuit."""

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(function)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            return await circuit.call(function, *args, **kwargs)

        return guarded

    return decorate


def _outcome_of(error: Exception | None) -> None:
    if error is not None:
        raise error


class _Listener(aiobreaker.CircuitBreakerListener):  # type: ignore[misc] # aiobreaker carries no types
    """Tells the guard of a change; aiobreaker's own state shows it only after that."""

    def __init__(self, changed: Callable[[CircuitState], None]) -> None:
        self._changed = changed

    def state_change(
        self, breaker: aiobreaker.CircuitBreaker, old: CircuitBreakerBaseState, new: CircuitBreakerBaseState
    ) -> None:
        del breaker, old
        self._changed(CircuitState(new.state.name.lower()))
