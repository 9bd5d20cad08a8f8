"""What is asked for under `/api` and is not there: a problem, and not a page of the browser's."""

import re

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from infra.console.problems import problem_response


async def nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 404, or 405 with the methods that there are; an ASGI application, to be mounted after the routes."""
    request = Request(scope)
    path = request.url.path
    allowed = {
        method.upper(): None
        for template, operations in request.app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)
        for method in operations
    }
    if allowed:
        response = problem_response(405, f"{path} takes {' and '.join(allowed)}; /api/docs tells how")
        response.headers["allow"] = ", ".join(allowed)
    else:
        response = problem_response(404, f"there is no {path}; /api/docs lists what there is")
    await response(scope, receive, send)
