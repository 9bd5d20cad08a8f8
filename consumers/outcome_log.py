"""What the log says of an outcome."""

from worker.domain.log import StructuredLogger
from worker.domain.outcome import Ack, DeadLetter, Defer, Outcome, Retry


def log_outcome(lines: StructuredLogger, subject: str, outcome: Outcome) -> None:
    """Write the one line about an outcome: `order.shipped`, `notice.deferred`, … for the subjects order and notice."""
    match outcome:
        case Ack(note=note):
            lines.info(f"{subject}.{note}")
        case Retry(queue=queue, error=error):
            lines.warning(f"{subject}.retry", delay=queue, error_type=type(error).__name__, error=str(error))
        case Defer(queue=queue, error=None):
            lines.debug(f"{subject}.early", delay=queue)
        case Defer(queue=queue, error=error):
            lines.info(f"{subject}.deferred", delay=queue, error_type=type(error).__name__, error=str(error))
        case DeadLetter(reason=reason, error=error):
            lines.error(
                f"{subject}.dead_lettered", reason=str(reason), error_type=type(error).__name__, error=str(error)
            )
