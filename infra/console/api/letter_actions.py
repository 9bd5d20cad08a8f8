"""`/api/triage`, and the edits of `/api/dead-letters`: acting."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from infra.console.api.action_models import EditAnswer, TriageAnswer
from infra.console.api.answers import TheDesk, answer, asks
from infra.console.api.filters import LetterId
from infra.console.api.wanted import EditRequest, Which
from infra.console.desk.edits import EditDesk
from infra.console.desk.expected import refuse_unless
from infra.console.desk.triage import TriageDesk
from worker.domain.errors import NotFoundError
from worker.domain.letter_story import ReplayStory
from worker.edit_documents import edit_document
from worker.triage_documents import plan_document, report_document

router = APIRouter(prefix="/api", tags=["dead letters"])


@router.post("/triage/discard", response_model=TriageAnswer, openapi_extra=asks(TriageDesk.discard))
async def discard(desk: TheDesk, wanted: Which) -> Response:
    """Set open dead letters aside that nobody will replay; they can be restored for 14 days (a setting)."""
    plan = await desk.triage.plan_discard(wanted.selection)
    if wanted.dry_run:
        return answer(plan_document(plan, dry_run=True))
    refuse_unless(wanted.expected, plan.count)
    report = await desk.triage.discard(plan, why=wanted.why)
    return answer({**plan_document(plan, dry_run=False), **report_document(plan, report)})


@router.post("/triage/restore", response_model=TriageAnswer, openapi_extra=asks(TriageDesk.restore))
async def restore(desk: TheDesk, wanted: Which) -> Response:
    """Open discarded dead letters again; one named by id that is replaying and overdue is opened, too."""
    plan = await desk.triage.plan_restore(wanted.selection)
    if wanted.dry_run:
        return answer(plan_document(plan, dry_run=True))
    refuse_unless(wanted.expected, plan.count)
    report = await desk.triage.restore(plan, why=wanted.why)
    return answer({**plan_document(plan, dry_run=False), **report_document(plan, report)})


@router.post("/dead-letters/{letter_id}/edit", response_model=EditAnswer, openapi_extra=asks(EditDesk.send))
async def edit(desk: TheDesk, letter_id: Annotated[LetterId, Path()], wanted: EditRequest) -> Response:
    """Correct an open dead letter and send it as one copy; the body it had is kept.

    409 when it changed since the revision you looked at: look again. `result` says what became of the copy.
    """
    prepared = await desk.edits.prepare(
        letter_id,
        revision=wanted.revision,
        body=wanted.body,
        fields=wanted.fields,
        headers=wanted.headers,
        exchange=wanted.exchange,
        routing_key=wanted.routing_key,
    )
    report = None if wanted.dry_run else await desk.edits.send(prepared, why=wanted.why)
    return answer(edit_document(prepared, report, None, waited=False))


@router.get(
    "/dead-letters/{letter_id}/replays/{replay_id}", response_model=ReplayStory, openapi_extra=asks(EditDesk.outcome)
)
async def replay_outcome(
    desk: TheDesk, letter_id: Annotated[LetterId, Path()], replay_id: Annotated[LetterId, Path(description="its id")]
) -> Response:
    """Tell what became of a copy so far."""
    story = await desk.edits.outcome(letter_id, replay_id)
    if story is None:
        raise NotFoundError(f"the dead letter {letter_id} has no replay {replay_id!r}")
    return answer(story)
