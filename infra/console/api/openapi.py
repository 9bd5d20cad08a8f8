"""The API's OpenAPI document: what FastAPI makes of the routes, and what holds for all of them."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from infra.console.api.routers import ROUTERS
from infra.console.problems import MEDIA_TYPE, Problem

TITLE = "logistics console"
_ABOUT = """Everything that the console's pages can do.

Programs send a token: `Authorization: Bearer …` (`logistics console add-user NAME --role reader --token` makes one).
Browsers have a session's cookie. `x-role` says for which role a request is; a reader gets no personal data.

Errors are `application/problem+json`; `detail` says what to do."""

_EVERYWHERE = {
    401: "nobody known is asking",
    403: "your role does not cover this, or a foreign page asks",
    422: "the request is not what it should be",
    500: "the console's own fault",
    503: "MongoDB or RabbitMQ does not answer",
}
_WITH_BODY = {
    400: "it is no JSON",
    404: "there is no such thing",
    405: "it is not asked for in this way",
    409: "it changed meanwhile, or something is in the way",
    413: "too large",
}
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": "logistics"},
}


def api_document() -> dict[str, Any]:
    """Return the document without a console that runs: what one that is not served over TLS answers."""
    app = FastAPI(title=TITLE, version=version("logistics"))
    for router in ROUTERS:
        app.include_router(router)
    return _document(app, "logistics")


def add_openapi(app: FastAPI, *, cookie: str) -> None:
    """Have the application answer with the whole document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, cookie)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI wants it done


def _document(app: FastAPI, cookie: str) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
    schemas = made["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = Problem.model_json_schema()
    made["components"]["securitySchemes"] = {**_SECURITY, "session": {**_SECURITY["session"], "name": cookie}}
    made["security"] = [{"token": []}, {"session": []}]
    for path in made["paths"].values():
        for operation in path.values():
            _add_problems(operation)
    return made


def _add_problems(operation: dict[str, Any]) -> None:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, description in {**_EVERYWHERE, **_WITH_BODY}.items():
        operation["responses"][str(status)] = {"description": description, "content": problem}
    if operation.get("x-role") is None:
        operation["responses"]["429"] = {"description": "too many sign-ins failed", "content": problem}
