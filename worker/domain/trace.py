"""One trace ID for an order's whole life, and the W3C trace context beside it.

Formats: https://www.w3.org/TR/trace-context/ (traceparent version 00).
"""

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

trace_id_ctx: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""The trace ID of the order being handled in this task; log lines take it from here."""

trace_context_ctx: ContextVar["TraceContext | None"] = ContextVar("trace_context", default=None)
"""The whole trace context of that order, for outgoing calls."""

MAX_TRACE_ID_LENGTH = 128
_MAX_TRACESTATE_LENGTH = 512
# Version ff and ids of zeros alone are forbidden; what later versions may add comes after another hyphen.
_TRACEPARENT = re.compile(r"((?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?")
_HEX_32 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace an order belongs to."""

    trace_id: str
    traceparent: str
    tracestate: str | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, object], *, seed: str) -> "TraceContext":
        """Continue the trace of the headers; make what is absent or unusable.

        What is made depends on `seed` alone (the order id, where there is one): the same order delivered again
        after a crash, before anything could be written back, makes the same trace again.
        """
        traceparent, tracestate = valid_traceparent(headers.get("traceparent")), None
        if traceparent is not None:
            tracestate = _valid_tracestate(headers)
        given = headers.get("trace_id")
        if is_valid_trace_id(given):
            trace_id = str(given)
        elif traceparent is not None:
            trace_id = traceparent.split("-")[1]
        else:
            trace_id = _hex_id(seed)
        return cls(trace_id, traceparent or _make_traceparent(trace_id), tracestate)

    @property
    def has_parent(self) -> bool:
        """Whether the parent is a span that somebody began; a traceparent made here names one that nobody did."""
        _, trace, parent, _ = self.traceparent.split("-")
        return parent != _hex_id(trace)[:16]

    def child_traceparent(self) -> str:
        """Return a traceparent of the same trace with a parent id of its own, for one outgoing call."""
        version, trace, _, flags = self.traceparent.split("-")[:4]
        parent = random.getrandbits(64) or 1
        return f"{version}-{trace}-{parent:016x}-{flags}"


@contextmanager
def trace_scope(trace_id: str, context: TraceContext | None = None) -> Iterator[None]:
    """Set `trace_id_ctx` and `trace_context_ctx` for the block."""
    tokens = trace_id_ctx.set(trace_id), trace_context_ctx.set(context)
    try:
        yield
    finally:
        trace_id_ctx.reset(tokens[0])
        trace_context_ctx.reset(tokens[1])


def gives_trace(headers: Mapping[str, object]) -> bool:
    """Whether headers name a trace, so that none has to be made."""
    return is_valid_trace_id(headers.get("trace_id")) or valid_traceparent(headers.get("traceparent")) is not None


def is_valid_trace_id(value: object) -> bool:
    """Whether a header value can be a trace ID: 1 to 128 characters, not all blank, none a control character."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TRACE_ID_LENGTH
        and not value.isspace()
        and (
            (value.isascii() and value.isprintable())
            or not any(unicodedata.category(character) in _UNSAFE for character in value)
        )
    )


_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}  # control, surrogate, line and paragraph separators


def valid_traceparent(value: object) -> str | None:
    """Return a header value as a traceparent of version 00's four fields, None when it is none."""
    if not isinstance(value, str) or len(value) > _MAX_TRACESTATE_LENGTH:
        return None
    match = _TRACEPARENT.fullmatch(value)
    if match is None or (match[2] and value.startswith("00")):
        return None
    return match[1]


def _valid_tracestate(headers: Mapping[str, object]) -> str | None:
    value = headers.get("tracestate")
    if isinstance(value, str) and 0 < len(value) <= _MAX_TRACESTATE_LENGTH and value.isascii() and value.isprintable():
        return value
    return None


def _make_traceparent(trace_id: str) -> str:
    plain = trace_id.replace("-", "").lower()
    trace = plain if _HEX_32.fullmatch(plain) and set(plain) != {"0"} else _hex_id(trace_id)
    return f"00-{trace}-{_hex_id(trace)[:16]}-01"


def _hex_id(seed: str) -> str:
    return hashlib.sha256(b"logistics-trace:" + seed.encode("utf-8", "surrogatepass")).hexdigest()[:32]
