"""The retry policy: a pure function from an error to an outcome (the table in docs/message-states.md)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from worker.domain.durations import parse_duration
from worker.domain.errors import (
    CircuitBreakerOpenException,
    EarlyNoticeError,
    MalformedMessageError,
    StoreUnavailableError,
    SupplierRejectedError,
    SupplierUnavailableError,
    UnknownShipmentError,
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
        self,
        error: BaseException,
        *,
        attempt: int,
        deferrals: int = 0,
        first_failed_at: int | None,
        now: int,
        chance: float,
    ) -> Outcome:
        """Return the outcome for `error`.

        attempt: failed tries before this one. deferrals: times put off before. first_failed_at, now: milliseconds
        since the epoch. chance: a random number in [0, 1) that the jitter is made of.
        """
        too_old = first_failed_at is not None and now - first_failed_at >= self.max_age * 1000
        match error:
            case MalformedMessageError():
                return DeadLetter(DeadLetterReason.MALFORMED, error)
            case SupplierRejectedError():
                return DeadLetter(DeadLetterReason.SUPPLIER_REJECTED, error)
            case UnknownShipmentError():
                return DeadLetter(DeadLetterReason.UNKNOWN_SHIPMENT, error)
            case StoreUnavailableError():
                return self.defer(error, seconds=_STORE_DOWN_DELAY, now=now)
            case CircuitBreakerOpenException(is_by_hand=True):
                return self._until_tried(error, now=now)  # no operator's word makes a dead letter
            case CircuitBreakerOpenException() | EarlyNoticeError() if too_old:
                return DeadLetter(DeadLetterReason.EXPIRED, error)
            case CircuitBreakerOpenException():
                return self._until_tried(error, now=now)
            case EarlyNoticeError():
                return self.defer(error, seconds=self._step(deferrals).seconds, now=now)
        if attempt + 1 >= self.max_attempts:
            return DeadLetter(DeadLetterReason.ATTEMPTS_EXHAUSTED, error)
        return self._retry(error, attempt=attempt, now=now, chance=chance)

    def defer(self, error: BaseException | None, *, seconds: float, now: int) -> Defer:
        """Put off for at least `seconds`, rounded up to a queue; longer than the longest takes several rounds."""
        seconds = self._bounded(seconds)
        delay = self._queue_for(seconds)
        return Defer(
            delay.label,
            error,
            not_before=now + math.ceil(seconds * 1000),
            wait_left=_wait_left(seconds, delay),
        )

    def seconds_early(self, not_before: int | None, *, wait_left: int | None, now: int) -> float:
        """Return for how long a message that came back must not be tried yet; an impossible time counts as none.

        Never longer than what the delay queue left of the wait, whatever the clocks say: the worker that wrote
        `not_before` may have been hours ahead. not_before, now: milliseconds since the epoch. wait_left: milliseconds.
        """
        if not_before is None:
            return 0.0
        early = (not_before - now) / 1000
        if wait_left is not None:
            early = min(early, wait_left / 1000)
        return early if 0 < early <= self.max_age + HOLD_LIMIT else 0.0

    def _until_tried(self, error: CircuitBreakerOpenException, *, now: int) -> Defer:
        """Put off for one round at most: by then the circuit may be closed by hand, or be so in another worker."""
        longest = max(delay.seconds for delay in self.delays)
        return self.defer(error, seconds=min(error.retry_after, longest), now=now)

    def _retry(self, error: BaseException, *, attempt: int, now: int, chance: float) -> Retry:
        delay = self._step(attempt)
        asked = self._bounded(error.retry_after or 0.0) if isinstance(error, SupplierUnavailableError) else 0.0
        if asked > delay.seconds:
            delay = self._queue_for(asked)
        # Jitter only lengthens, and by no more than a worker is ready to hold the message when it comes back.
        jitter = chance * min(_JITTER * delay.seconds, HOLD_LIMIT)
        wait = max(asked, delay.seconds) + jitter
        return Retry(delay.label, error, not_before=now + math.ceil(wait * 1000), wait_left=_wait_left(wait, delay))

    def _step(self, times_before: int) -> Delay:
        return self.delays[min(times_before, len(self.delays) - 1)]

    def _queue_for(self, seconds: float) -> Delay:
        long_enough = [delay for delay in self.delays if delay.seconds >= seconds]
        if long_enough:
            return min(long_enough, key=lambda delay: delay.seconds)
        return max(self.delays, key=lambda delay: delay.seconds)

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, 0.0), self.max_age)


def _wait_left(seconds: float, delay: Delay) -> int:
    return max(math.ceil((seconds - delay.seconds) * 1000), 0)
