"""`/api/overview` and `/api/audit`."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from infra.console.api.answers import TheDesk, answer, asks
from infra.console.api.filters import Text, Time
from infra.console.api.system_models import AuditList, PictureModel
from infra.console.desk.system import SystemDesk
from worker.audit_documents import entry_document
from worker.history import History
from worker.overview_documents import picture_document

router = APIRouter(prefix="/api", tags=["system"])


class AuditFilters(BaseModel):
    """Which actions."""

    model_config = ConfigDict(extra="forbid")

    since: Time | None = None
    until: Time | None = None
    who: Text | None = Field(None, description="by this person")
    action: Text | None = Field(None, description="this action; `replay` is every one about replay jobs")
    job_id: Text | None = Field(None, description="about this replay job")
    limit: int = Field(50, ge=1, le=1000)


@router.get("/overview", response_model=PictureModel, openapi_extra=asks(SystemDesk.live))
async def overview(
    desk: TheDesk,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="wait for the next: its number")] = None,
) -> Response:
    """Show queues, workers, circuits, shipments and dead letters of this second, and what is wrong in words.

    Of a server that cannot be reached, `unreachable` says why, and what was last known of it is shown. There is a new
    two a second; with `after` the answer comes as soon as there is one with a higher number, within 5 s.
    """
    picture = desk.system.live() if after is None else await desk.system.next(after=after)
    return answer(picture_document(picture))


@router.get("/history", response_model=History, openapi_extra=asks(SystemDesk.history))
async def history(
    desk: TheDesk, hours: Annotated[float, Query(ge=0.1, le=10_000, description="so many, until now")] = 1.0
) -> Response:
    """Tell how it was: lines of 120 points over the last hours, the newest last; null where nobody looked.

    `published`, `shipped`, `retried`, `deferred` and `failed` are orders per second; `to_shipped_…` is in seconds.
    """
    return answer(await desk.system.history(hours=hours))


@router.get("/audit", response_model=AuditList, openapi_extra=asks(SystemDesk.audit))
async def audit(desk: TheDesk, filters: Annotated[AuditFilters, Query()]) -> Response:
    """Show who did what, when, why and to how many, newest first."""
    entries = await desk.system.audit(**filters.model_dump())
    return answer({"entries": [entry_document(entry) for entry in entries]})
