"""Where log lines go: JSON lines for machines, coloured text on a terminal, written by a thread of its own."""

import atexit
import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

from worker.domain.log import log_fields_ctx
from worker.domain.trace import trace_id_ctx

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
# These libraries tell of a lost connection in several lines with tracebacks; we tell it in one.
_NOISY = ("aio_pika", "aiormq", "pymongo", "motor", "asyncio", "aiohttp.access", "aiobreaker", "opentelemetry")
_LINE_BREAKS = {number: f"\\u{number:04x}" for number in (0x85, 0x2028, 0x2029)}
"""What JSON may hold as it is, and some who read line by line take for the end of a line."""
_MAX_FIELD = 2000
_MAX_WAITING = 100_000
_LAST_LINES_TIMEOUT = 2.0


def setup_logging(level: str, *, stream: TextIO | None = None) -> Callable[[], bool]:
    """Send every log line to `stream` (standard error), off the caller's path.

    On a terminal as coloured text, else as one JSON object a line. Returns what writes the last lines and stops; it
    says whether it could, in two seconds: nobody may be reading the stream.
    """
    stream = stream or sys.stderr
    writer = logging.StreamHandler(stream)
    writer.setFormatter(TextFormatter() if stream.isatty() else json_formatter())
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    entry = _Entry(lines)
    listener = QueueListener(lines, writer)
    listener.start()
    asked = threading.Event()

    def end_when_asked() -> None:
        asked.wait()
        listener.stop()

    # Started now: at the interpreter's end it would be too late to start a thread.
    ending = threading.Thread(target=end_when_asked, name="log-ending", daemon=True)
    ending.start()

    def write_last_lines() -> bool:
        asked.set()
        ending.join(_LAST_LINES_TIMEOUT)
        return not ending.is_alive()

    atexit.register(write_last_lines)
    root = logging.getLogger()
    root.handlers = [entry]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return write_last_lines


def json_formatter() -> logging.Formatter:
    """Return the formatter of the JSON lines: `timestamp`, `level`, `logger`, `event`, `pid` and the line's fields."""
    return _JsonFormatter(
        ["levelname", "name", "message", "process"],
        rename_fields={"levelname": "level", "name": "logger", "message": "event", "process": "pid"},
        reserved_attrs=[*RESERVED_ATTRS, "context_fields"],
        timestamp=True,
    )


class _JsonFormatter(OrjsonFormatter):
    """The library's, but no line is lost because of what is in it (half a surrogate pair, a huge number)."""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return the line."""
        try:
            line = super().jsonify_log_record(log_data)
            return line if line.isascii() else line.translate(_LINE_BREAKS)
        except TypeError:
            return json.dumps(log_data, default=str, skipkeys=True)


class _Entry(QueueHandler):
    """Takes a line on the caller's side: adds what only that side knows, and leaves the formatting to the thread."""

    def __init__(self, lines: "queue.SimpleQueue[logging.LogRecord]") -> None:
        super().__init__(lines)
        self._lines = lines

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand the line to the thread; drop it when nobody has read the stream for a hundred thousand lines."""
        if self._lines.qsize() < _MAX_WAITING:
            self._lines.put(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Add the context's fields. (The stock version formats here and loses the traceback's structure.)"""
        fields = {"trace_id": trace_id_ctx.get(), **(log_fields_ctx.get() or {}), **record.__dict__.pop("fields", {})}
        for name, value in fields.items():
            if value is not None and name not in record.__dict__:
                record.__dict__[name] = _bounded(value)
        record.context_fields = [name for name in fields if fields[name] is not None]
        return record


class TextFormatter(logging.Formatter):
    """One readable line: time, level, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        colour = _COLOURS.get(record.levelname, "0")
        names = getattr(record, "context_fields", [])
        fields = " ".join(f"\x1b[2m{name}=\x1b[0m{_shown(record.__dict__.get(name))}" for name in names)
        line = f"\x1b[2m{clock}\x1b[0m \x1b[{colour}m{record.levelname:<7}\x1b[0m {record.getMessage():<24} {fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _bounded(value: Any) -> Any:
    return value[:_MAX_FIELD] if isinstance(value, str) else value


def _shown(value: object) -> str:
    """Return a value for a terminal: nothing in it may move the cursor."""
    text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]
