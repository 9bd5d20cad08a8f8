"""Small makers of metric families whose values are known when a page is made."""

import platform
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric


class Families:
    """A collector of families that are made already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


def one(name: str, text: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


def by(label: str, name: str, text: str, numbers: Mapping[str, float | None]) -> Metric:
    """Return a gauge with one label; what is None is left out."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in numbers.items():
        if number is not None:
            family.add_metric([value], number)
    return family


def state(name: str, text: str, known: Iterable[str], current: str | None) -> Metric:
    """Return a gauge that is 1 for the current one of the known states, 0 for the others."""
    return by("state", name, text, {value: float(value == current) for value in known})


def build_info(version: str) -> Metric:
    """Return what this program is, as labels."""
    family = GaugeMetricFamily("logistics_build_info", "Always 1: what this program is.", labels=["version", "python"])
    family.add_metric([version, platform.python_version()], 1)
    return family
