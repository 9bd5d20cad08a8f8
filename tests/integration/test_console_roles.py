"""Who may do what: every route of the API, for every role. A new one has to be listed here."""

from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from infra.console.access.roles import Role
from infra.console.api.nothing_there import nothing_there
from tests.conftest import Broker, Mongo
from tests.support.console_office import Office, an_office
from tests.support.letters import a_letter

LETTER, JOB = "00000000-0000-0000-0000-000000000000", "beef"
WHICH = {"ids": [LETTER], "why": "a test"}
EDIT = {"revision": 0, "body_text": "{}", "why": "a test"}
REASON = {"why": "a test"}

REQUESTS: dict[tuple[str, str], tuple[Role | None, dict[str, Any] | None]] = {
    ("GET", "/api/session"): (Role.READER, None),
    ("POST", "/api/session"): (None, {"name": "anna", "password": "wrong"}),
    ("DELETE", "/api/session"): (None, None),
    ("GET", "/api/overview"): (Role.READER, None),
    ("GET", "/api/history?hours=24"): (Role.READER, None),
    ("GET", "/api/audit"): (Role.READER, None),
    ("GET", "/api/orders?q=A"): (Role.READER, None),
    ("GET", "/api/orders/story?order_id=A"): (Role.READER, None),
    ("GET", "/api/dead-letters"): (Role.READER, None),
    ("GET", "/api/dead-letters/groups"): (Role.READER, None),
    ("GET", "/api/dead-letters/hours"): (Role.READER, None),
    ("GET", "/api/dead-letters/export"): (Role.OPERATOR, None),
    ("POST", "/api/triage/discard"): (Role.OPERATOR, WHICH),
    ("POST", "/api/triage/restore"): (Role.OPERATOR, WHICH),
    ("GET", "/api/dead-letters/{letter_id}"): (Role.READER, None),
    ("GET", "/api/dead-letters/{letter_id}/body"): (Role.OPERATOR, None),
    ("POST", "/api/dead-letters/{letter_id}/edit"): (Role.OPERATOR, EDIT),
    ("GET", "/api/dead-letters/{letter_id}/replays/{replay_id}"): (Role.READER, None),
    ("GET", "/api/replays"): (Role.READER, None),
    ("POST", "/api/replays"): (Role.OPERATOR, WHICH),
    ("GET", "/api/replays/{job_id}"): (Role.READER, None),
    ("POST", "/api/replays/{job_id}/pause"): (Role.OPERATOR, REASON),
    ("POST", "/api/replays/{job_id}/resume"): (Role.OPERATOR, REASON),
    ("POST", "/api/replays/{job_id}/cancel"): (Role.OPERATOR, REASON),
    ("POST", "/api/replays/{job_id}/rate"): (Role.OPERATOR, {"rate": 1}),
    ("GET", "/api/workers"): (Role.READER, None),
    ("POST", "/api/workers/pause"): (Role.ADMIN, REASON),
    ("POST", "/api/workers/resume"): (Role.ADMIN, REASON),
    ("POST", "/api/workers/prefetch"): (Role.ADMIN, {"prefetch": None}),
    ("POST", "/api/workers/circuit/open"): (Role.ADMIN, REASON),
    ("POST", "/api/workers/circuit/reset"): (Role.ADMIN, REASON),
    ("GET", "/api/docs"): (Role.READER, None),
    ("GET", "/api/openapi.json"): (Role.READER, None),
    ("GET", "/sign-in"): (None, None),
    ("POST", "/sign-in"): (None, {}),
    ("POST", "/sign-out"): (Role.READER, None),
    ("GET", "/metrics"): (Role.READER, None),
    ("GET", "/livez"): (None, None),
    ("GET", "/readyz"): (None, None),
}
"""By method and path: the least role that may ask, None: everybody; and a body that is well-formed."""


@pytest.fixture
async def office(broker: Broker, mongo: Mongo, tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(broker, mongo, tmp_path) as opened:
        opened.put(a_letter())
        yield opened


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and what it says of itself, of everything that the application answers."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from routes_of(included.routes)
            continue
        if getattr(route, "app", None) is nothing_there:
            continue  # answers nothing but that there is nothing
        for method in sorted(getattr(route, "methods", None) or {"ANY"}):
            if method != "HEAD":
                extra = route.openapi_extra if isinstance(route, APIRoute) else None
                yield method, str(getattr(route, "path", route)), extra or {}


async def test_every_route_is_listed_here_with_the_role_that_it_tells_in_its_document(office: Office) -> None:
    listed = {(method, path.partition("?")[0]): role for (method, path), (role, _) in REQUESTS.items()}
    found = {(method, path): extra for method, path, extra in routes_of(office.callers.app.routes)}
    assert found.keys() == listed.keys()
    told = {key: extra["x-role"] for key, extra in found.items() if "x-role" in extra}
    assert told == {key: None if listed[key] is None else str(listed[key]) for key in told}
    documented = {
        (method.upper(), path) for path, all_ in office.callers.app.openapi()["paths"].items() for method in all_
    }
    assert documented == told.keys()


@pytest.mark.parametrize("who", [None, *Role])
async def test_a_route_is_refused_to_everybody_below_its_role_and_to_nobody_above(
    office: Office, who: Role | None
) -> None:
    async with office.callers.caller(None if who is None else office.tokens[who]) as http:
        for (method, path), (least, body) in REQUESTS.items():
            where = path.replace("{letter_id}", LETTER).replace("{replay_id}", LETTER).replace("{job_id}", JOB)
            answer = await http.request(method, where, json=body)
            what = f"{who} {method} {path}: {answer.status_code} {answer.text[:200]}"
            if least is None:
                assert answer.status_code not in {403, 500}, what
            elif who is None:
                assert answer.status_code == 401, what
            elif who.covers(least):
                assert answer.status_code not in {401, 403, 422, 500}, what
            else:
                assert answer.status_code == 403, what
                assert f"this needs the role {least}" in answer.json()["detail"]
