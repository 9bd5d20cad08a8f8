"""`/api/dead-letters`: looking."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response, StreamingResponse

from infra.console.api.answers import TheDesk, answer, asks
from infra.console.api.filters import Filters, LetterId, PageFilters, cursor_of
from infra.console.api.letter_models import GroupList, HourList, LetterList, WholeLetter
from infra.console.desk.letters import LetterDesk
from worker.documents import json_text
from worker.domain.dead_letter import DeadLetterRecord
from worker.letter_documents import letter_document, view_document, whole_document

router = APIRouter(prefix="/api/dead-letters", tags=["dead letters"])
_RAW = "application/octet-stream"
_LINES = "application/x-ndjson"


@router.get("", response_model=LetterList, openapi_extra=asks(LetterDesk.page))
async def list_letters(desk: TheDesk, filters: Annotated[PageFilters, Query()]) -> Response:
    """List dead letters, newest first."""
    page = await desk.letters.page(filters.selection(), limit=filters.limit, after=filters.after)
    letters = [letter_document(letter) for letter in page.letters]
    return answer({"total": page.total, "dead_letters": letters, "next": cursor_of(page.next)})


@router.get("/groups", response_model=GroupList, openapi_extra=asks(LetterDesk.groups))
async def list_groups(desk: TheDesk, filters: Annotated[Filters, Query()]) -> Response:
    """Count dead letters by what went wrong, the most frequent first."""
    return answer({"groups": await desk.letters.groups(filters.selection())})


@router.get("/hours", response_model=HourList, openapi_extra=asks(LetterDesk.hours))
async def list_hours(desk: TheDesk, filters: Annotated[Filters, Query()]) -> Response:
    """Count dead letters by the hour (UTC) in which they were dead-lettered last."""
    return answer({"hours": await desk.letters.hours(filters.selection())})


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {_LINES: {"schema": {"type": "string"}}}}},
    openapi_extra=asks(LetterDesk.export),
)
async def export_letters(desk: TheDesk, filters: Annotated[Filters, Query()]) -> Response:
    """Write dead letters as JSON Lines, newest first, bodies included."""
    letters = desk.letters.export(filters.selection())
    first = await anext(letters, None)  # before anything is answered: the store may be away
    lines = _lines(first, letters)
    name = 'attachment; filename="dead-letters.jsonl"'
    return StreamingResponse(lines, media_type=_LINES, headers={"content-disposition": name})


@router.get("/{letter_id}", response_model=WholeLetter, openapi_extra=asks(LetterDesk.show))
async def show_letter(desk: TheDesk, letter_id: Annotated[LetterId, Path()]) -> Response:
    """Show everything about one dead letter."""
    view, masked = await desk.letters.show(letter_id), desk.letters.is_masked
    hidden = {"body_base64": None, "body_text": None} if masked else {}
    return answer({**view_document(view), **hidden, "masked": masked})


@router.get(
    "/{letter_id}/body",
    response_class=Response,
    responses={200: {"content": {_RAW: {"schema": {"type": "string", "format": "binary"}}}}},
    openapi_extra=asks(LetterDesk.body),
)
async def letter_body(
    desk: TheDesk,
    letter_id: Annotated[LetterId, Path()],
    version: Annotated[int | None, Query(ge=0, le=1_000_000, description="an earlier body; 0 is how it came")] = None,
) -> Response:
    """Return the body, byte for byte."""
    body = await desk.letters.body(letter_id, version=version)
    return Response(body, media_type=_RAW, headers={"content-disposition": 'attachment; filename="body.bin"'})


async def _lines(first: DeadLetterRecord | None, letters: AsyncIterator[DeadLetterRecord]) -> AsyncIterator[bytes]:
    if first is not None:
        yield _line(first)
    async for letter in letters:
        yield _line(letter)


def _line(letter: DeadLetterRecord) -> bytes:
    return f"{json_text(whole_document(letter))}\n".encode("ascii")
