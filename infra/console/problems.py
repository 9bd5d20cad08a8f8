"""Errors as one shape, `application/problem+json`: what went wrong, in words that say what to do."""

import http
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from infra.console import errors as ours
from infra.console.faults import in_words, logged
from worker.documents import json_text
from worker.domain import errors

MEDIA_TYPE = "application/problem+json"

_STATUS: Mapping[type[Exception], int] = {
    ours.NotSignedInError: 401,
    ours.SignInRefusedError: 401,
    ours.NotAllowedError: 403,
    errors.NotFoundError: 404,
    errors.JobConflictError: 409,
    errors.EditConflictError: 409,
    ours.ChangedMeanwhileError: 409,
    ours.NothingToDoError: 409,
    errors.EditRefusedError: 422,
    errors.ControlRefusedError: 422,
    ours.TooManyTriesError: 429,
    errors.StoreUnavailableError: 503,
    errors.BrokerUnavailableError: 503,
}


class Problem(BaseModel):
    """An error."""

    status: int = Field(description="the HTTP status")
    title: str = Field(description="the HTTP status in words")
    detail: str = Field(description="what is wrong, and what to do about it")
    errors: list[str] = Field(default=[], description="which part of the request is wrong, and why; one line each")


def problem_response(status: int, detail: str, *, errors: list[str] | None = None) -> Response:
    """Return an error as a response."""
    document = Problem(status=status, title=http.HTTPStatus(status).phrase, detail=detail, errors=errors or [])
    response = Response(json_text(document.model_dump()), status, media_type=MEDIA_TYPE)
    if status == http.HTTPStatus.UNAUTHORIZED:
        response.headers["www-authenticate"] = 'Bearer realm="logistics console"'
    return response


def add_problem_handlers(app: FastAPI) -> None:
    """Have every error of an application answered as a problem."""
    for kind, status in _STATUS.items():
        app.add_exception_handler(kind, _handler(status))
    app.add_exception_handler(RequestValidationError, _wrong_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _our_fault)


def _handler(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> Response:
        response = problem_response(status, str(error))
        if isinstance(error, ours.TooManyTriesError):
            response.headers["retry-after"] = f"{error.retry_after:.0f}"
        return response

    return answer


async def _wrong_request(_: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in found]
    return problem_response(422, "the request is not what it should be; /api/docs tells what that is", errors=lines)


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    response = problem_response(error.status_code, f"{error.detail}; /api/docs lists what there is")
    response.headers.update(error.headers or {})
    return response


async def _our_fault(request: Request, error: Exception) -> Response:
    return problem_response(500, in_words(logged(error, path=request.url.path)))
