"""OpenTelemetry's contexts and our trace context: one from the other. Needs the extra `otel`."""

from contextvars import ContextVar

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from worker.domain.trace import TraceContext

_root_trace_ctx: ContextVar[int | None] = ContextVar("root_trace", default=None)


class TraceIds(RandomIdGenerator):
    """Ids as the library makes them, but for the trace of an order whose publisher began none: that is made from the
    order id, and its first span has no parent."""

    def generate_trace_id(self) -> int:
        """Return the trace id for a span without a parent."""
        return _root_trace_ctx.get() or super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Return False: not all of them are."""
        return False


def parent_of(trace: TraceContext) -> Context:
    """Return the context in which a span of this trace begins; call it right before.

    The empty one, and the trace's id for `TraceIds`, when nobody else has a span in it.
    """
    if trace.has_parent:
        _root_trace_ctx.set(None)
        return set_span_in_context(NonRecordingSpan(_span_context(trace.traceparent, trace.tracestate)), Context())
    _root_trace_ctx.set(int(trace.traceparent.split("-")[1], 16))
    return Context()


def links_to(previous: str | None) -> list[Link]:
    """Return the link to the span that sent a message before, by its traceparent."""
    return [] if previous is None else [Link(_span_context(previous, None))]


def traceparent_of(context: SpanContext) -> str:
    """Return a span as others see it."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _span_context(traceparent: str, tracestate: str | None) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")[:4]
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([tracestate]) if tracestate is not None else None,
    )
