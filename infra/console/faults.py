"""Faults of the console itself: told without their words, which may say more than the reader may see."""

import secrets

from worker.domain.log import StructuredLogger

_log = StructuredLogger("logistics.console")


def logged(error: Exception, *, path: str) -> str:
    """Log a fault with its traceback; return the reference under which its line is found in the log."""
    reference = secrets.token_hex(4)
    _log.error("console.failed", exc_info=error, reference=reference, path=path)
    return reference


def in_words(reference: str) -> str:
    """Return what people are told of a fault."""
    return f"the console failed at this; its log says why: look for the reference {reference}"
