"""How a route answers: the same documents that the command line prints with `--json`."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends
from starlette.responses import Response

from infra.console.desk.desk import Desk, desk_of
from infra.console.desk.part import role_of
from worker.documents import json_text

TheDesk = Annotated[Desk, Depends(desk_of)]
"""The desk of who makes the request."""


def answer(document: object, *, status: int = 200) -> Response:
    """Return a document as a response."""
    return Response(json_text(document), status, media_type="application/json")


def asks(method: Callable[..., object]) -> dict[str, Any]:
    """Return what a route that calls this method of a desk says of itself in the OpenAPI document: for which role."""
    return {"x-role": str(role_of(method))}
