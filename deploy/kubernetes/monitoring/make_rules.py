"""Makes rules.yaml, beside this file, of deploy/prometheus/alerts.yml: the same, as the Prometheus Operator takes it.

python deploy/kubernetes/monitoring/make_rules.py
"""

from pathlib import Path
from textwrap import indent

HERE = Path(__file__).parent
_HEADER = """\
# Made by make_rules.py of deploy/prometheus/alerts.yml: change that file, and make this one again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: logistics
spec:
"""


def rules() -> str:
    """Return the whole file."""
    alerts = (HERE.parents[1] / "prometheus" / "alerts.yml").read_text()
    return _HEADER + indent(alerts, "  ")


if __name__ == "__main__":
    (HERE / "rules.yaml").write_text(rules())
