"""`logistics console` as a process: how it starts, whom it lets in over real sockets, how it ends."""

import asyncio
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
from pymongo import MongoClient

from infra.console.access.passwords import hash_token
from infra.console.access.roles import Role
from tests.conftest import Broker, Mongo
from tests.support.certificates import Authority
from tests.support.command import Ran, run
from tests.support.console import PASSWORD, ConsoleProcess, caller, running_console, write_users
from tests.support.console_office import put_letters
from tests.support.letters import a_letter
from tests.support.proxy import proxy_to_store
from tests.support.system import PROJECT, eventually

NOWHERE = {"LOGISTICS_AMQP_URL": "amqp://127.0.0.1:1/", "LOGISTICS_MONGODB_URI": "mongodb://127.0.0.1:1/"}
SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"


async def test_what_is_wrong_with_its_start_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("no certificate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wrong = {
            "the console would ask nobody who they are at 0.0.0.0:0: set LOGISTICS_": {"ADDR": "0.0.0.0:0"},
            "LOGISTICS_CONSOLE_CERT_FILE": {"CERT_FILE": str(tmp_path / "cert")},
            f"cannot listen on 127.0.0.1:{port} (another program has it)": {"ADDR": f"127.0.0.1:{port}"},
            "LOGISTICS_MONGODB_URI is not set": {"": ""},
        }

        async def start(settings: dict[str, str]) -> Ran:
            named = {f"LOGISTICS_CONSOLE_{name}": value for name, value in settings.items()}
            servers = NOWHERE if "" not in settings else {"LOGISTICS_AMQP_URL": "amqp://127.0.0.1:1/"}
            return await run({**servers, "LOGISTICS_CONSOLE_ADDR": "127.0.0.1:0", **named}, "console")

        for says, ran in zip(wrong, await asyncio.gather(*map(start, wrong.values())), strict=True):
            assert (ran.code, ran.out, says in ran.err, len(ran.err.splitlines())) == (2, "", True, 1), ran


async def test_without_its_packages_it_says_what_to_install_and_its_help_is_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError('there is none', name='fastapi')")
    without = {**NOWHERE, "PYTHONPATH": f"{tmp_path}:{PROJECT}"}
    ran = await run(without, "console")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "logistics: the console's packages are not installed (fastapi is missing): pip install 'logistics[console]'\n"
    )
    assert (await run(without, "console", "--help")).code == 0


async def test_users_are_added_from_a_pipe_and_a_token_is_printed_once(tmp_path: Path) -> None:
    users = str(tmp_path / "users")
    token = await run({}, "console", "add-user", "scraper", "--role", "reader", "--token", "--file", users)
    assert token.code == 0
    assert token.out.strip() not in (tmp_path / "users").read_text()
    line = await run({}, "console", "add-user", "ci", "--role", "reader", "--token", "--file", "-")
    assert line.out == f"ci reader {hash_token(line.err.strip())}\n"
    named = {"LOGISTICS_CONSOLE_USERS_FILE": users}
    wrong_name = await run(named, "console", "add-user", "two words", "--role", "admin", "--proxy")
    assert (wrong_name.code, "no space" in wrong_name.err) == (1, True)
    assert "at least 12 characters" in (await run(named, "console", "add-user", "anna", "--role", "admin")).err
    with running_console({**NOWHERE, **named}, tmp_path / "log") as console:
        await console.started()
        async with caller(console.url, token.out.strip()) as http:
            assert (await http.get("/api/session")).json()["name"] == "scraper"


async def test_a_foreign_page_opens_no_web_socket_and_our_own_does(tmp_path: Path) -> None:
    write_users(tmp_path / "users")
    users = {"LOGISTICS_CONSOLE_USERS_FILE": str(tmp_path / "users")}
    with running_console({**NOWHERE, **users}, tmp_path / "log") as console:
        await console.started()
        async with caller(console.url, origin=console.url) as http:
            await http.post("/api/session", json={"name": "anna", "password": PASSWORD})
            cookie = f"logistics={http.cookies['logistics']}"
        foreign = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {}]
        for headers in foreign:
            assert await opening(console, {**headers, "Cookie": cookie}) == 403, headers
        assert await opening(console, {"Origin": console.url}) == 403  # nobody has signed in
        assert await opening(console, {"Origin": console.url, "Cookie": cookie}) == 101


async def opening(console: ConsoleProcess, headers: dict[str, str]) -> int:
    """Return the status that opening a web socket is answered with; 101: it is open, and talks."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(console.url + SOCKET, headers=headers) as opened:
                assert (await opened.receive_str(timeout=10)).startswith("0{")
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


async def test_it_speaks_tls_itself_and_its_cookie_is_for_that_alone(tmp_path: Path) -> None:
    write_users(tmp_path / "users")
    authority = Authority(tmp_path / "ca", "authority")
    made = authority.sign("console")
    settings = {"USERS_FILE": tmp_path / "users", "CERT_FILE": made.cert, "KEY_FILE": made.key}
    named = {f"LOGISTICS_CONSOLE_{name}": str(value) for name, value in settings.items()}
    with running_console({**NOWHERE, **named}, tmp_path / "log") as console:
        await console.started()
        assert console.url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(authority.file))
        async with caller(console.url, verify=trusted, origin=console.url) as http:
            answer = await http.post("/api/session", json={"name": "anna", "password": PASSWORD})
            assert answer.headers["set-cookie"].startswith("__Host-logistics=")
            assert "; Secure" in answer.headers["set-cookie"]
            assert (await http.get("/api/session")).json()["name"] == "anna"


async def test_it_waits_for_a_store_that_is_away_says_so_and_goes_on(
    broker: Broker, mongo: Mongo, tmp_path: Path
) -> None:
    tokens = write_users(tmp_path / "users")
    letter = a_letter()
    with MongoClient[dict[str, Any]](mongo.uri) as client:
        put_letters(client[mongo.database], letter)
    async with proxy_to_store(mongo.uri) as proxy:
        environment = {
            "LOGISTICS_AMQP_URL": broker.amqp_url,
            "LOGISTICS_MONGODB_URI": proxy.url,
            "LOGISTICS_MONGODB_DATABASE": mongo.database,
            "LOGISTICS_STORE_TIMEOUT": "1s",
            "LOGISTICS_CONSOLE_USERS_FILE": str(tmp_path / "users"),
        }
        with running_console(environment, tmp_path / "log") as console:
            await console.started()
            async with caller(console.url, tokens[Role.OPERATOR]) as http:
                assert (await http.get("/api/dead-letters")).json()["total"] == 1
                proxy.refuse()
                await proxy.cut()
                away = await http.get("/api/dead-letters")
                assert away.status_code == 503
                told = await run({**environment, "LOGISTICS_OPERATOR": "anna"}, "dead-letters", "list")
                assert (await http.get("/api/dead-letters/export")).status_code == 503
                assert away.json()["detail"].split(":")[0] == told.err.removeprefix("logistics: ").split(":")[0]
                acted = await http.post("/api/triage/discard", json={"ids": [letter.id], "why": "away"})
                assert acted.status_code == 503

                async def not_ready() -> bool:
                    return (await http.get("/readyz")).status_code == 503

                await eventually(not_ready)
                assert (await http.get("/livez")).status_code == 200
                picture = (await http.get("/api/overview")).json()
                assert picture["open_dead_letters"] == {"supplier_rejected": 1}  # as last known
                assert "MongoDB" in picture["last_known"]
                page = (await http.get("/metrics")).text
                assert 'logistics_server_reachable{server="mongodb"} 0.0' in page
                assert "logistics_dead_letters_open{" not in page
                await proxy.listen()

                async def back() -> bool:
                    answers = [await http.get(path) for path in ("/api/dead-letters", "/readyz")]
                    return [answer.status_code for answer in answers] == [200, 200]

                await eventually(back)


async def test_a_signal_ends_it_though_somebody_is_looking(tmp_path: Path) -> None:
    with running_console(NOWHERE, tmp_path / "log") as console:
        await console.started()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(console.url + SOCKET, origin=console.url) as opened,
        ):
            await opened.receive_str(timeout=10)
            console.process.send_signal(signal.SIGTERM)
            await eventually(lambda: console.process.poll() is not None, timeout=20)
        assert console.process.returncode == 0
        assert console.events("console.stopped")
