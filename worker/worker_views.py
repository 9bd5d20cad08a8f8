"""The workers as they reported themselves, seen from now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

LOST_AFTER = 15.0
"""Seconds without a report after which a worker counts as lost; it reports every 2, or sooner."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker, as it reported itself. Durations in seconds."""

    name: str
    lost: bool
    seen_at: datetime
    seen_ago: float
    version: str
    uptime: float | None
    """When last seen."""
    connected: bool
    circuit: str
    circuit_retry_after: float
    """From now, until the open circuit may be tried."""
    circuit_open_for: float
    """Until now: how long the circuit has not been closed; 0 while it is."""
    last_failure: str | None
    intake_limit: int | None
    in_flight: Mapping[str, int]
    health: str | None
    runs_replays: bool = False
    paused: bool = False
    """Taking orders is paused by hand."""
    prefetch: int | None = None
    """Orders at once when nothing else limits it."""
    circuit_held_open: str | None = None
    """Who holds the circuit open by hand and why, in words."""
    control_revision: int = 0
    """Of the wishes that it has carried out."""


def worker_views(reports: Sequence[Mapping[str, Any]], *, now: datetime) -> list[WorkerView]:
    """Return the workers that have not stopped: those that report by name, then the lost ones, newest first."""
    views = [_worker_view(report, now) for report in reports if not report.get("stopped")]
    return sorted(views, key=lambda view: (view.lost, view.seen_ago if view.lost else 0, view.name))


def _worker_view(report: Mapping[str, Any], now: datetime) -> WorkerView:
    seen_at, started_at, control = report["seen_at"], report.get("started_at"), report.get("control", {})
    open_for = float(report.get("circuit_open_for", 0.0))
    seen_ago = max((now - seen_at).total_seconds(), 0.0)
    return WorkerView(
        name=str(report["name"]),
        lost=seen_ago > LOST_AFTER,
        seen_at=seen_at,
        seen_ago=seen_ago,
        version=str(report.get("version", "?")),
        uptime=max((seen_at - started_at).total_seconds(), 0.0) if started_at is not None else None,
        connected=bool(report.get("connected")),
        circuit=str(report.get("circuit", "?")),
        circuit_retry_after=max(float(report.get("circuit_retry_after", 0.0)) - seen_ago, 0.0),
        circuit_open_for=open_for + seen_ago if open_for else 0.0,
        last_failure=report.get("last_failure"),
        intake_limit=report.get("intake_limit"),
        in_flight=dict(report.get("in_flight", {})),
        health=report.get("health"),
        runs_replays=bool(report.get("runs_replays")),
        paused=bool(control.get("paused")),
        prefetch=control.get("prefetch"),
        circuit_held_open=control.get("circuit_held_open"),
        control_revision=control.get("revision", 0),
    )
