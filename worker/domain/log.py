"""Structured log lines: an event name and fields, never a sentence with values baked in."""

import logging
from contextvars import ContextVar
from typing import Any

log_fields_ctx: ContextVar[dict[str, Any] | None] = ContextVar("log_fields", default=None)
"""Fields every line of this task carries: order_id, shipment_id, attempt."""


class StructuredLogger:
    """A named logger whose lines are an event and fields.

    The trace ID and the order's fields come from the context of the task, so no caller passes them along. How a
    line is written (JSON or coloured text) and when (off the hot path) is set up in `infra.telemetry`.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        """Log what only somebody hunting a fault wants to see."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what happened as it should."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what somebody should look at if it goes on."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Log what somebody must look at; `exc_info` adds the traceback."""
        self._log(logging.ERROR, event, fields, exc_info)

    def _log(self, level: int, event: str, fields: dict[str, Any], exc_info: BaseException | None = None) -> None:
        lines = self._logger
        if lines.isEnabledFor(level):
            raised = (type(exc_info), exc_info, exc_info.__traceback__) if exc_info is not None else None
            # Not `lines.log`: it looks up its caller's file and line each time, and nobody reads them here.
            lines.handle(lines.makeRecord(lines.name, level, "", 0, event, (), raised, extra={"fields": fields}))
