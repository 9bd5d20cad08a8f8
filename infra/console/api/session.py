"""`/api/session`: signing in and out, and who one is."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from infra.console.access.access import Access
from infra.console.access.roles import Role
from infra.console.access.users import MAX_NAME
from infra.console.access.visitor import Visitor
from infra.console.api.answers import TheDesk, answer
from infra.console.api.system_models import SessionModel
from infra.console.desk.desk import Desk
from worker.domain.errors import NotFoundError

router = APIRouter(prefix="/api/session", tags=["session"])
MAX_PASSWORD = 1000


class Credentials(BaseModel):
    """A name and its password."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=MAX_NAME)
    password: str = Field(min_length=1, max_length=MAX_PASSWORD)


@router.get("", response_model=SessionModel, openapi_extra={"x-role": str(Role.READER)})
async def who_am_i(desk: TheDesk) -> Response:
    """Tell who you are, and what you may."""
    return answer(_document(desk))


@router.post("", response_model=SessionModel, openapi_extra={"x-role": None, "security": []})
async def sign_in(request: Request, given: Credentials) -> Response:
    """Sign in; the answer sets a cookie. Programs send a token instead, and need no session."""
    secret = await begin_session(request, given.name, given.password)
    access: Access = request.app.state.access
    visitor = access.doors.by_secret(secret)
    response = answer(_document(Desk(visitor, request.state.house)))
    set_cookie(response, access, secret)
    return response


@router.delete("", status_code=204, openapi_extra={"x-role": None, "security": []})
async def sign_out(request: Request) -> Response:
    """Sign out: the session ends, for whoever has its cookie."""
    response = Response(status_code=204)
    end_session(request, response)
    return response


async def begin_session(request: Request, name: str, password: str) -> str:
    """Return the secret of a new session. Raises SignInRefusedError, TooManyTriesError, NotFoundError."""
    access: Access = request.app.state.access
    if access.sign_in is None:
        raise NotFoundError("nobody has a password here: the console asks nobody, or a proxy in front of it does")
    return await access.sign_in.begin(
        name,
        password,
        address=access.doors.client(request.headers, request.client.host if request.client else ""),
        before=access.doors.secret(request.headers),
    )


def end_session(request: Request, response: Response) -> None:
    """End the session that the request's cookie names, and have the browser forget the cookie."""
    access: Access = request.app.state.access
    secret = access.doors.secret(request.headers)
    if secret is not None and access.sign_in is not None:
        access.sign_in.end(secret)
    set_cookie(response, access, "", max_age=0)


def set_cookie(response: Response, access: Access, secret: str, *, max_age: int | None = None) -> None:
    """Give the browser the cookie: no script reads it, no foreign page's request carries it."""
    response.set_cookie(
        access.cookie, secret, max_age=max_age, path="/", httponly=True, samesite="lax", secure=access.is_https
    )


def _document(desk: Desk) -> dict[str, object]:
    visitor: Visitor = desk.visitor
    person = visitor.person()
    return {"name": person.name, "role": person.role, "way": visitor.way, "masked": desk.letters.is_masked}
