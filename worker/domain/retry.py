"""The retry policy: a pure function from an error to an outcome (the table in docs/message-states.md)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from worker.domain.durations import parse_duration
from worker.domain.errors import (
    CircuitBreakerOpenException,
    MalformedOrderError,
    StoreUnavailableError,
    SupplierRejectedError,
    SupplierUnavailableError,
)
from worker.domain.outcome import DeadLetter, DeadLetterReason, Defer, Outcome, Retry

HOLD_LIMIT = 1.0
"""Seconds a worker holds a message that came back a little early, instead of sending it round again."""
_JITTER = 0.1
_STORE_DOWN_DELAY = 1.0


@dataclass(frozen=True, slots=True)
class Delay:
    """One delay queue: its label (as configured, the routing key) and its length in seconds."""

    label: str
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Delay":
        """Return the delay written as `5s`; the label keeps what was written. Raises ValueError."""
        seconds = parse_duration(text)
        if not 0.001 <= seconds <= 86400:
            raise ValueError(f"{text!r}: a delay lies between 1ms and 1 day")
        written = "".join(text.split())
        return cls(written if written[-1].isalpha() else f"{written}s", seconds)


DEFAULT_DELAYS = tuple(Delay.parse(text) for text in ("1s", "5s", "30s", "2m", "10m"))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Decides what a failed or refused delivery becomes. No clock, no I/O: everything is an argument."""

    delays: Sequence[Delay] = DEFAULT_DELAYS
    max_attempts: int = len(DEFAULT_DELAYS) + 1
    """Tries in all; more than there are delays repeats the last delay."""
    max_age: float = 86400.0
    """Seconds after the first failure from which a refused message is given up, and the longest wait planned."""

    def decide(
        self, error: BaseException, *, attempt: int, first_failed_at: int | None, now: int, chance: float
    ) -> Outcome:
        """Return the outcome for `error`.

        attempt: failed tries before this one. first_failed_at, now: milliseconds since the epoch.
        chance: a random number in [0, 1) that the jitter is made of.
        """
        match error:
            case MalformedOrderError():
                return DeadLetter(DeadLetterReason.MALFORMED, error)
            case SupplierRejectedError():
                return DeadLetter(DeadLetterReason.SUPPLIER_REJECTED, error)
            case StoreUnavailableError():
                return self.defer(error, seconds=_STORE_DOWN_DELAY, now=now)
            case CircuitBreakerOpenException():
                if first_failed_at is not None and now - first_failed_at >= self.max_age * 1000:
                    return DeadLetter(DeadLetterReason.EXPIRED, error)
                return self.defer(error, seconds=error.retry_after, now=now)
        if attempt + 1 >= self.max_attempts:
            return DeadLetter(DeadLetterReason.ATTEMPTS_EXHAUSTED, error)
        return self._retry(error, attempt=attempt, now=now, chance=chance)

    def defer(self, error: BaseException | None, *, seconds: float, now: int) -> Defer:
        """Put off for at least `seconds`, rounded up to a queue; longer than the longest takes several rounds."""
        seconds = self._bounded(seconds)
        return Defer(self._queue_for(seconds).label, error, not_before=now + math.ceil(seconds * 1000))

    def _retry(self, error: BaseException, *, attempt: int, now: int, chance: float) -> Retry:
        delay = self.delays[min(attempt, len(self.delays) - 1)]
        asked = self._bounded(error.retry_after or 0.0) if isinstance(error, SupplierUnavailableError) else 0.0
        if asked > delay.seconds:
            delay = self._queue_for(asked)
        # Jitter only lengthens, and by no more than a worker is ready to hold the message when it comes back.
        jitter = chance * min(_JITTER * delay.seconds, HOLD_LIMIT)
        wait = max(asked, delay.seconds) + jitter
        return Retry(delay.label, error, not_before=now + math.ceil(wait * 1000))

    def _queue_for(self, seconds: float) -> Delay:
        long_enough = [delay for delay in self.delays if delay.seconds >= seconds]
        if long_enough:
            return min(long_enough, key=lambda delay: delay.seconds)
        return max(self.delays, key=lambda delay: delay.seconds)

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, 0.0), self.max_age)
