"""Whether spans are recorded, by the settings."""

from importlib.metadata import version

from worker.domain.errors import ConfigurationError
from worker.domain.tracing import NO_TRACING, ITracing
from worker.settings import Settings

SPANS_TIMEOUT = 2.0
"""Seconds that a program waits at its end for the collector to take the last spans."""


def open_tracing(settings: Settings, *, service: str, instance: str) -> ITracing:
    """Return the tracing that LOGISTICS_OTLP_ENDPOINT asks for, none when it is not set.

    `service`: what this program is; `instance`: which one. Raises ConfigurationError without the extra `otel`.
    """
    if settings.otlp_endpoint is None:
        return NO_TRACING
    try:
        from infra.telemetry.span_export import exporting_provider
        from infra.telemetry.spans import SpanTracing
    except ImportError as error:
        raise ConfigurationError(
            f"LOGISTICS_OTLP_ENDPOINT is set, but OpenTelemetry is not installed ({error.name} is missing): "
            "install 'logistics[otel]', or unset it"
        ) from None
    endpoint = settings.otlp_endpoint.get_secret_value()
    provider = exporting_provider(endpoint, service=service, version=version("logistics"), instance=instance)
    return SpanTracing(provider, amqp_url=settings.required("amqp_url"), client=instance)
