"""One metrics page for several processes: each sample carries the number of its process."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from infra.telemetry.families import Families, by

_LABEL = "process"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What a supervisor knows of one process."""

    restarts: int
    page: str | None
    """Its metrics page, None when it does not run or does not answer."""


def merged_page(processes: Mapping[int, ProcessState]) -> bytes:
    """Return the page of these processes, by number.

    Nothing is added up: a sum would fall when a process starts anew, and be taken for a counter that began at 0. The
    number of a place among the processes stays when the process in it changes, so a series just begins again.
    """
    registry = CollectorRegistry()
    registry.register(Families([*_own(processes), *_labelled(processes)]))
    return generate_latest(registry)


def _own(processes: Mapping[int, ProcessState]) -> Iterable[Metric]:
    up = {str(number): float(process.page is not None) for number, process in processes.items()}
    yield by(_LABEL, "logistics_process_up", "1 while the worker process runs and answers.", up)
    restarts = CounterMetricFamily("logistics_process_restarts", "Times it was started again.", labels=[_LABEL])
    for number, process in processes.items():
        restarts.add_metric([str(number)], process.restarts)
    yield restarts


def _labelled(processes: Mapping[int, ProcessState]) -> Iterable[Metric]:
    merged: dict[str, Metric] = {}
    for number, process in processes.items():
        for family in text_string_to_metric_families(process.page or ""):
            into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                into.add_sample(sample.name, {**sample.labels, _LABEL: str(number)}, sample.value)
    return merged.values()
