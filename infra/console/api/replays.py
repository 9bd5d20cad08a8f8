"""`/api/replays`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from infra.console.api.action_models import ReplayList, ReplayModel, ReplayPlanModel
from infra.console.api.answers import TheDesk, answer, asks
from infra.console.api.wanted import RateRequest, Reason, ReplayRequest
from infra.console.desk.desk import Desk
from infra.console.desk.replays import ReplayDesk
from worker.replay_documents import plan_document, progress_document

router = APIRouter(prefix="/api/replays", tags=["replays"])

_JobId = Annotated[str, Path(pattern=r"^[0-9a-z]{1,40}$", description="the whole id of a job")]
_MOST_LETTERS = 1000


@router.get("", response_model=ReplayList, openapi_extra=asks(ReplayDesk.latest))
async def list_jobs(desk: TheDesk, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> Response:
    """List the replay jobs, newest first, each with the sum of its letters."""
    return answer({"jobs": [progress_document(progress) for progress in await desk.replays.latest(limit=limit)]})


@router.post(
    "",
    status_code=201,
    response_model=ReplayModel,
    responses={200: {"model": ReplayPlanModel, "description": "with `dry_run`: what it would do"}},
    openapi_extra=asks(ReplayDesk.start),
)
async def start_job(desk: TheDesk, wanted: ReplayRequest) -> Response:
    """Start a job with the letters that are open now; a worker performs it. One is active at a time: else 409.

    With `dry_run`: say what it would send, and what it would leave alone and why.
    """
    options = desk.replays.options(**wanted.options)
    if wanted.dry_run:
        return answer(plan_document(await desk.replays.plan(wanted.selection), options))
    job = await desk.replays.start(wanted.selection, options, why=wanted.why, expected=wanted.expected)
    response = answer(progress_document(await desk.replays.show(job.id)), status=201)
    response.headers["location"] = f"/api/replays/{job.id}"
    return response


@router.get("/{job_id}", response_model=ReplayModel, openapi_extra=asks(ReplayDesk.show))
async def show_job(
    desk: TheDesk,
    job_id: _JobId,
    letters: Annotated[bool, Query(description="list the letters that did not end well, a thousand at most")] = False,  # noqa: FBT002 - a query's parameter
) -> Response:
    """Show one job: how far it is, what came of its letters, when it will have sent them all."""
    progress = await desk.replays.show(job_id)
    troubled = await desk.replays.troubled(job_id, limit=_MOST_LETTERS) if letters else None
    return answer(progress_document(progress, troubled))


@router.post("/{job_id}/pause", response_model=ReplayModel, openapi_extra=asks(ReplayDesk.pause))
async def pause_job(desk: TheDesk, job_id: _JobId, wanted: Reason) -> Response:
    """Send nothing more until the job is resumed. What is out goes on, and its outcome is noted."""
    await desk.replays.pause(job_id, why=wanted.why)
    return await _shown(desk, job_id)


@router.post("/{job_id}/resume", response_model=ReplayModel, openapi_extra=asks(ReplayDesk.resume))
async def resume_job(desk: TheDesk, job_id: _JobId, wanted: Reason) -> Response:
    """Go on with a job that was paused (where it was) or that stopped by itself (with a canary first)."""
    await desk.replays.resume(job_id, why=wanted.why)
    return await _shown(desk, job_id)


@router.post("/{job_id}/cancel", response_model=ReplayModel, openapi_extra=asks(ReplayDesk.cancel))
async def cancel_job(desk: TheDesk, job_id: _JobId, wanted: Reason) -> Response:
    """End a job: what has gone out stays out, the rest stays an open dead letter."""
    await desk.replays.cancel(job_id, why=wanted.why)
    return await _shown(desk, job_id)


@router.post("/{job_id}/rate", response_model=ReplayModel, openapi_extra=asks(ReplayDesk.set_rate))
async def set_rate(desk: TheDesk, job_id: _JobId, wanted: RateRequest) -> Response:
    """Change how many letters a second a job sends at most, while it runs: it takes that up within a second."""
    await desk.replays.set_rate(job_id, wanted.rate, why=wanted.why)
    return await _shown(desk, job_id)


async def _shown(desk: Desk, job_id: str) -> Response:
    return answer(progress_document(await desk.replays.show(job_id)))
