"""Which requests are of the console's own pages, and what the browser is told."""

from typing import Any

import pytest
from pydantic import ValidationError
from starlette.datastructures import Headers

from infra.console.access.site import Site
from worker.console_settings import ConsoleSettings

HERE, PUBLIC = Site(None), Site("https://console.example")
LINK: dict[str, Any] = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


def why(
    site: Site, method: str = "GET", *, websocket: bool = False, ambient: bool = True, **headers: str
) -> str | None:
    named = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return site.why_foreign(named, method=method, is_websocket=websocket, is_ambient=ambient)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "localhost:9000"])
def test_on_this_machine_it_answers_to_every_name_of_this_machine(host: str) -> None:
    assert why(HERE, host=host) is None
    assert why(HERE, "POST", host=host, origin=f"http://{host}", sec_fetch_site="same-origin") is None


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "", "localhost.evil.example", "127.0.0.1.nip.io", "a@localhost:x", "[::1", "10.0.0.7"]
)
def test_a_foreign_name_for_this_machine_is_refused_as_a_browser_may_be_misled(host: str) -> None:
    assert "this console is not" in str(why(HERE, host=host))


def test_with_a_public_address_it_answers_to_that_alone() -> None:
    for host in ("console.example", "console.example:443", "CONSOLE.example"):
        assert why(PUBLIC, host=host) is None
    for host in ("localhost:8080", "console.example:8443", "other.example", "console.example.evil.example"):
        assert "this console is not" in str(why(PUBLIC, host=host))


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("websocket", [True, False])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://console.example",
        "https://console.example:8443",
        "https://x.console.example",
    ],
)
def test_a_foreign_origin_is_refused_whatever_it_asks(method: str, websocket: bool, origin: str) -> None:
    for ambient in (True, False):
        told = why(PUBLIC, method, websocket=websocket, ambient=ambient, host="console.example", origin=origin)
        assert told == f"a page of {origin} may not use this console"


def test_another_port_of_this_machine_is_another_site() -> None:
    assert why(HERE, "POST", host="localhost:8080", origin="http://localhost:3000") is not None
    assert why(HERE, "GET", host="localhost:8080", sec_fetch_site="same-site") is not None


def test_a_link_from_anywhere_leads_here_and_nothing_else_from_there_does() -> None:
    assert why(PUBLIC, host="console.example", **LINK) is None
    assert why(PUBLIC, "POST", host="console.example", **LINK) is not None
    for dest in ("iframe", "image", "script", "empty", "object"):
        assert why(PUBLIC, host="console.example", **{**LINK, "sec_fetch_dest": dest}) is not None
    assert why(PUBLIC, host="console.example", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") is not None
    assert why(PUBLIC, host="console.example", sec_fetch_site="none", sec_fetch_mode="navigate") is None


def test_what_a_cookie_lets_in_has_to_say_where_it_comes_from_when_it_changes_something() -> None:
    for told in (why(PUBLIC, "POST", host="console.example"), why(PUBLIC, websocket=True, host="console.example")):
        assert "say where this request comes from" in str(told)
    assert why(PUBLIC, "POST", ambient=False, host="console.example") is None
    assert why(PUBLIC, "GET", host="console.example") is None
    assert why(PUBLIC, "POST", host="console.example", origin="https://console.example") is None
    assert why(PUBLIC, "POST", host="console.example", sec_fetch_site="same-origin") is None


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host"])
def test_a_console_that_asks_nobody_takes_nothing_from_a_proxy(header: str) -> None:
    asks_nobody = Site(None, asks_nobody=True)
    assert (
        asks_nobody.why_foreign(Headers({"host": "localhost"}), method="GET", is_websocket=False, is_ambient=False)
        is None
    )
    behind = Headers({"host": "localhost", header: "10.0.0.1"})
    told = asks_nobody.why_foreign(behind, method="GET", is_websocket=False, is_ambient=False)
    assert "set up sign-in first" in str(told)


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://console.example:443", "https://console.example"),
        ("http://localhost:80/", "http://localhost"),
        ("https://Console.example:8443", "https://console.example:8443"),
    ],
)
def test_a_public_address_is_compared_as_browsers_write_it(written: str, origin: str) -> None:
    assert ConsoleSettings(console_public_url=written).console_public_url == origin


@pytest.mark.parametrize("written", ["https://console.example:99999", "https://console.example:"])
def test_a_port_that_there_is_not_stops_the_start(written: str) -> None:
    with pytest.raises(ValidationError, match=r"[Pp]ort"):
        ConsoleSettings(console_public_url=written)
