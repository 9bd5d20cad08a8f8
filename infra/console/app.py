"""The console as an ASGI application: the gate in front, behind it API and pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from infra.console import metrics, probes, sign_in_page
from infra.console.access.access import Access
from infra.console.access.gate import Gate
from infra.console.api import docs_page
from infra.console.api.nothing_there import nothing_there
from infra.console.api.openapi import TITLE, add_openapi
from infra.console.api.routers import ROUTERS
from infra.console.desk.part import House
from infra.console.problems import add_problem_handlers
from worker.feed import open_feed
from worker.services import open_services
from worker.settings import Settings

_ROOM = 1024 * 1024
"""Bytes of a request beside the body of a message that it may carry."""


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncIterator[House]:
    """Open what the console works on. Servers that are away are waited for. Raises ConfigurationError."""
    async with open_services(settings) as services, open_feed(settings, keeps_history=True) as feed:
        yield House(settings, services, feed)


def console_app(house: House, access: Access) -> FastAPI:
    """Return the application, to be served `behind_gate`."""
    app = FastAPI(
        title=TITLE,
        version=version("logistics"),
        openapi_url="/api/openapi.json",
        docs_url=None,  # its pages load scripts from elsewhere: api/docs_page.py is ours
        redoc_url=None,
        max_body_size=2 * house.settings.max_body_bytes + _ROOM,
    )
    app.state.house = house
    app.state.access = access
    for router in (*ROUTERS, docs_page.router, sign_in_page.router, probes.router, metrics.router):
        app.include_router(router)
    app.mount("/api", nothing_there)
    add_problem_handlers(app)
    add_openapi(app, cookie=access.cookie)
    return app


def behind_gate(app: FastAPI) -> Gate:
    """Return the application as it is served: outermost the gate, so that nothing is answered without it."""
    access: Access = app.state.access
    return Gate(
        app,
        doors=access.doors,
        site=access.site,
        is_https=access.is_https,
        max_body_size=app.max_body_size or _ROOM,
        house=app.state.house,
    )
