"""`/metrics`: the whole system in Prometheus' format, for who may read; a scraper sends a token."""

from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from infra.console.desk.desk import desk_of
from infra.telemetry.metrics import CONTENT_TYPE
from infra.telemetry.overview_metrics import render_overview
from worker.known_now import known_now

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Answer with what `logistics metrics` prints; what cannot be asked now is left out."""
    overview = known_now(desk_of(request).system.live().overview)
    page = render_overview(asdict(overview), version=request.app.version)
    return Response(page, headers={"content-type": CONTENT_TYPE})
