"""The Grafana dashboard, and what it asks Prometheus."""

import json
from collections.abc import Iterator
from typing import Any

from tests.support.system import PROJECT

DASHBOARD = json.loads((PROJECT / "deploy" / "grafana" / "logistics.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
_VARIABLES = {"$__rate_interval": "5m", "$worker": ".*"}


def expressions() -> Iterator[str]:
    """Every expression of the dashboard, as Grafana sends it."""
    texts = [target["expr"] for panel in PANELS for target in panel["targets"]]
    texts += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    for text in texts:
        for name, value in _VARIABLES.items():
            text = text.replace(name, value)
        yield text
