"""A real Prometheus of this test's own, and what it says."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from infra.local.ports import free_ports


@dataclass(frozen=True)
class Prometheus:
    """Where it answers."""

    url: str

    async def query(self, expression: str) -> list[float]:
        """The values of an instant query."""
        found = await self._get("query", query=expression)
        return [float(sample["value"][1]) for sample in found["result"]]

    async def rules(self) -> list[dict[str, Any]]:
        return [rule for group in (await self._get("rules"))["groups"] for rule in group["rules"]]

    async def firing(self) -> dict[str, str]:
        """The summaries of the alerts that fire, by name."""
        alerts = (await self._get("alerts"))["alerts"]
        return {
            alert["labels"]["alertname"]: alert["annotations"]["summary"]
            for alert in alerts
            if alert["state"] == "firing"
        }

    async def _get(self, what: str, **parameters: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/{what}", params=parameters) as response,
        ):
            return (await response.json())["data"]


@contextmanager
def running_prometheus(
    folder: Path, *, jobs: Mapping[str, str], rules: Path, tokens: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Prometheus]:
    """Scrape these jobs (`host:port/path` by name) every half second, and evaluate the rules as often.

    `tokens`: by name of a job, what it shows at the door.
    """
    [port] = free_ports(1)
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        json.dumps(  # which is YAML, too
            {
                "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
                "rule_files": [str(rules)],
                "scrape_configs": [_job(name, target, tokens.get(name)) for name, target in jobs.items()],
            }
        )
    )
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def _job(name: str, target: str, token: str | None) -> dict[str, Any]:
    address, _, path = target.partition("/")
    door = {} if token is None else {"authorization": {"credentials": token}}
    return {"job_name": name, "metrics_path": f"/{path}", "static_configs": [{"targets": [address]}], **door}
