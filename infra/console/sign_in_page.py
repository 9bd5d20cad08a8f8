"""The page to sign in on: plain HTML, which needs no script and no web socket."""

import html
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from infra.console.access.access import Access
from infra.console.access.headers import PLAIN_PAGE
from infra.console.access.users import MAX_NAME
from infra.console.api.session import MAX_PASSWORD, begin_session, end_session, set_cookie
from infra.console.errors import SignInRefusedError, TooManyTriesError
from infra.console.plain_page import plain_page

router = APIRouter(include_in_schema=False)

_FORM = """<main class="narrow"><h1>Sign in</h1>{problem}
<form method="post" action="/sign-in">
<input type="hidden" name="next" value="{wanted}">
<label>Name<input name="name" autocomplete="username" required autofocus maxlength="{max_name}"></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required
 maxlength="{max_password}"></label>
<button>Sign in</button>
</form></main>"""


@router.get("/sign-in")
async def sign_in_form(wanted: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Show the form."""
    return _page(wanted)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    name: Annotated[str, Form(max_length=MAX_NAME)],
    password: Annotated[str, Form(max_length=MAX_PASSWORD)],
    wanted: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Sign in and go to the page that was wanted, or show the form again and why."""
    access: Access = request.app.state.access
    try:
        secret = await begin_session(request, name, password)
    except SignInRefusedError as error:
        return _page(wanted, str(error), status=401)
    except TooManyTriesError as error:
        return _page(wanted, str(error), status=429)
    response = RedirectResponse(_local(wanted), 303)
    set_cookie(response, access, secret)
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Sign out and show the form."""
    response = RedirectResponse("/sign-in", 303)
    end_session(request, response)
    return response


def _page(wanted: str, problem: str = "", *, status: int = 200) -> Response:
    told = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    body = _FORM.format(problem=told, wanted=html.escape(_local(wanted)), max_name=MAX_NAME, max_password=MAX_PASSWORD)
    return HTMLResponse(plain_page("Sign in", body), status, headers={"content-security-policy": PLAIN_PAGE})


def _local(wanted: str) -> str:
    """Return a path of ours; anything that might lead elsewhere is the first page."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_ours else "/"
