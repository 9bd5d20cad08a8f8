"""What is answered for an address that there is not."""

from fastapi import Request
from nicegui import Client, app, ui
from starlette.responses import Response

from infra.console.desk.desk import desk_of
from infra.console.pages.kit import Tag, link
from infra.console.pages.shell import Shell


@app.exception_handler(404)
async def nothing_here(request: Request, _: Exception) -> Response:
    """Answer with a page that leads to the others."""
    with Client(ui.page(""), request=request) as client:
        with Shell("Nothing here", desk_of(request), here="").body, Tag("div", classes="card empty"):
            Tag("h1", "Nothing here")
            Tag("p", "The console has no such page: the address may have been cut off on its way.")
            link("Overview", "/", "btn")
        return client.build_response(request, 404)
