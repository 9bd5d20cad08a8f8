"""Sending spans to a collector over OTLP and HTTP. Needs the extra `otel`."""

import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from infra.telemetry.span_context import TraceIds
from worker.domain.log import StructuredLogger

_TIMEOUT = 5.0
_WORD_EVERY = 60.0

_log = StructuredLogger("logistics.spans")


def exporting_provider(endpoint: str, *, service: str, version: str, instance: str) -> TracerProvider:
    """Return a provider whose spans go to `{endpoint}/v1/traces`, in batches, from a thread of its own.

    Sampling, the service's name and headers for the collector can be set with OpenTelemetry's own variables
    (OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS).
    """
    ours = Resource({"service.name": service, "service.version": version, "service.instance.id": instance})
    resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, id_generator=TraceIds(), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT)
    provider.add_span_processor(BatchSpanProcessor(TellingExporter(exporter)))
    return provider


class TellingExporter(SpanExporter):
    """Says, once a minute, that a collector takes no spans. They are lost then, and nothing else is."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = 0
        self._next_word = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            return result
        self._lost += len(spans)
        if time.monotonic() >= self._next_word:
            _log.warning(
                "spans.lost", count=self._lost, why="the collector at LOGISTICS_OTLP_ENDPOINT does not take them"
            )
            self._lost, self._next_word = 0, time.monotonic() + _WORD_EVERY
        return result

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)
