"""Whether the durations among the settings make sense together. Pure."""

from collections.abc import Iterator

from worker.domain.durations import format_duration as written
from worker.finding import Finding, Verdict
from worker.overview_words import span
from worker.settings import Settings

_AREA = "timing"
_ACK_TIMEOUT = 30 * 60.0
"""Seconds after which RabbitMQ, unless told otherwise, closes the channel of a consumer that has not acked."""


def check_timing(settings: Settings) -> list[Finding]:
    """Return what the retry schedule is, and what in it is probably not meant."""
    return [_schedule(settings), *_doubts(settings)]


def _schedule(settings: Settings) -> Finding:
    delays = [delay.seconds for delay in settings.retry_delays]
    waits = settings.max_attempts - 1
    total = sum(delays[:waits]) + delays[-1] * max(waits - len(delays), 0)
    tries = "once" if waits == 0 else f"{settings.max_attempts} times within at least {span(total)}"
    return Finding(_AREA, Verdict.OK, f"an order that fails is tried {tries}; then it is a dead letter")


def _doubts(settings: Settings) -> Iterator[Finding]:
    longest = max(delay.seconds for delay in settings.retry_delays)
    if settings.supplier_timeout > settings.drain_timeout:
        yield Finding(
            _AREA,
            Verdict.WARNING,
            f"a request to the supplier may take {written(settings.supplier_timeout)}, but a worker that stops waits "
            f"only {written(settings.drain_timeout)}: an order under way may be given back and asked for again",
            "make LOGISTICS_DRAIN_TIMEOUT longer than LOGISTICS_SUPPLIER_TIMEOUT",
        )
    if settings.supplier_timeout >= _ACK_TIMEOUT:
        yield Finding(
            _AREA,
            Verdict.WARNING,
            f"a request to the supplier may take {written(settings.supplier_timeout)}, but RabbitMQ by default takes "
            "back what is not acknowledged within 30m",
            "shorten LOGISTICS_SUPPLIER_TIMEOUT, or raise consumer_timeout at the broker",
        )
    if settings.max_age < longest:
        yield Finding(
            _AREA,
            Verdict.WARNING,
            f"an order is given up when refused by an open circuit for {written(settings.max_age)}, which is shorter "
            f"than the longest delay, {written(longest)}",
            "make LOGISTICS_MAX_AGE longer than the longest of LOGISTICS_RETRY_DELAYS",
        )
    if settings.breaker_recovery_timeout > longest:
        yield Finding(
            _AREA,
            Verdict.NOTE,
            f"the circuit stays open for {written(settings.breaker_recovery_timeout)}, longer than the longest delay, "
            f"{written(longest)}: an order put off goes round more than once",
            "fine if meant; else add a delay to LOGISTICS_RETRY_DELAYS",
        )
    if settings.max_attempts <= len(settings.retry_delays):
        unused = [delay.label for delay in settings.retry_delays[settings.max_attempts - 1 :]]
        yield Finding(
            _AREA,
            Verdict.NOTE,
            f"failed tries never wait in {', '.join(unused)}: LOGISTICS_MAX_ATTEMPTS is {settings.max_attempts}",
            "fine if meant (an open circuit and a Retry-After still use them)",
        )
