"""What is answered when a page cannot be built."""

import html

from fastapi import Request
from nicegui import app
from starlette.responses import HTMLResponse, Response

from infra.console.faults import in_words, logged
from infra.console.plain_page import plain_page

_PAGE = """<main class="narrow"><h1>That did not work</h1><p>{what}.</p><p>Nothing was changed by it. <a href="">Try
again</a>, or look at the <a href="/">overview</a>.</p></main>"""


@app.exception_handler(Exception)
async def fault(request: Request, error: Exception) -> Response:
    """Answer with a page that needs nothing of what may have failed, and that tells none of the error's words."""
    what = in_words(logged(error, path=request.url.path)).capitalize()
    return HTMLResponse(plain_page("That did not work", _PAGE.format(what=html.escape(what))), 500)
