"""`/api/workers`."""

from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.responses import Response

from infra.console.api.answers import TheDesk, answer, asks
from infra.console.api.system_models import WishAnswers, WorkerList
from infra.console.api.wanted import HoldWorkers, PrefetchRequest, ReleaseWorkers
from infra.console.desk.desk import Desk
from infra.console.desk.workers import WorkerDesk
from worker.domain.controls import Wishes
from worker.worker_documents import answers_document, workers_document

router = APIRouter(prefix="/api/workers", tags=["workers"])


@router.get("", response_model=WorkerList, openapi_extra=asks(WorkerDesk.all))
async def list_workers(desk: TheDesk) -> Response:
    """Show the workers, and what is held back by hand."""
    return answer(workers_document(await desk.workers.all(), await desk.workers.wishes(), now=datetime.now(UTC)))


@router.post("/pause", response_model=WishAnswers, openapi_extra=asks(WorkerDesk.pause))
async def pause_workers(desk: TheDesk, wanted: HoldWorkers) -> Response:
    """Take no more orders; what is in hand is finished, delivery notices and dead letters go on."""
    return await _answers(desk, await desk.workers.pause(wanted.workers, why=wanted.why), wanted.workers)


@router.post("/resume", response_model=WishAnswers, openapi_extra=asks(WorkerDesk.resume))
async def resume_workers(desk: TheDesk, wanted: ReleaseWorkers) -> Response:
    """Take orders again, few at first; a wish for one worker counts before what is wished of all."""
    return await _answers(desk, await desk.workers.resume(wanted.workers, why=wanted.why), wanted.workers)


@router.post("/prefetch", response_model=WishAnswers, openapi_extra=asks(WorkerDesk.set_prefetch))
async def set_prefetch(desk: TheDesk, wanted: PrefetchRequest) -> Response:
    """Change how many orders are handled at once."""
    wishes = await desk.workers.set_prefetch(wanted.workers, wanted.prefetch, why=wanted.why)
    return await _answers(desk, wishes, wanted.workers)


@router.post("/circuit/open", response_model=WishAnswers, openapi_extra=asks(WorkerDesk.open_circuit))
async def open_circuit(desk: TheDesk, wanted: HoldWorkers) -> Response:
    """Ask the supplier for nothing more, not even to probe, until the circuit is reset; orders wait."""
    return await _answers(desk, await desk.workers.open_circuit(wanted.workers, why=wanted.why), wanted.workers)


@router.post("/circuit/reset", response_model=WishAnswers, openapi_extra=asks(WorkerDesk.reset_circuit))
async def reset_circuit(desk: TheDesk, wanted: ReleaseWorkers) -> Response:
    """Close the circuit now, whoever or whatever has opened it; it may open by itself again."""
    return await _answers(desk, await desk.workers.reset_circuit(wanted.workers, why=wanted.why), wanted.workers)


async def _answers(desk: Desk, wishes: Wishes, workers: list[str] | None) -> Response:
    return answer(answers_document(wishes, await desk.workers.answers(wishes.revision, workers)))
