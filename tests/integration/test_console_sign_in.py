"""Signing in to the console and being kept out of it, as browsers and attackers see it."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.console.access.roles import Role
from infra.console.access.users import new_user, put_user
from infra.mongodb.audit_log import MongoAuditLog
from tests.support.console import PASSWORD, Callers, cheap_hash, console_here, write_users

NOWHERE = {"LOGISTICS_AMQP_URL": "amqp://127.0.0.1:1/", "LOGISTICS_MONGODB_URI": "mongodb://127.0.0.1:1/"}
"""Nobody has to be there to sign in."""
ANNA = {"name": "anna", "password": PASSWORD}
PUBLIC = "https://console.example"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    write_users(tmp_path / "users")
    return tmp_path / "users"


@pytest.fixture
async def console(users: Path) -> AsyncIterator[Callers]:
    async with console_here({**NOWHERE, "LOGISTICS_CONSOLE_USERS_FILE": str(users)}) as callers:
        yield callers


@pytest.fixture
async def public(users: Path) -> AsyncIterator[Callers]:
    settings = {"USERS_FILE": str(users), "PUBLIC_URL": PUBLIC, "ADDR": "0.0.0.0:0"}
    named = {f"LOGISTICS_CONSOLE_{name}": value for name, value in settings.items()}
    async with console_here({**NOWHERE, **named}, url=PUBLIC) as callers:
        yield callers


def browser(console: Callers) -> httpx.AsyncClient:
    return console.caller(origin=console.url)


def cookie(answer: httpx.Response) -> Any:
    (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return morsel


async def name_of(http: httpx.AsyncClient) -> str | None:
    answer = await http.get("/api/session")
    return str(answer.json()["name"]) if answer.status_code == 200 else None


async def test_who_knows_the_password_is_in_until_they_sign_out(console: Callers) -> None:
    async with browser(console) as http:
        assert await name_of(http) is None
        signed_in = await http.post("/api/session", json=ANNA)
        assert signed_in.json() == {"name": "anna", "role": "operator", "way": "session", "masked": False}
        assert await name_of(http) == "anna"
        stolen = http.cookies["logistics"]
        assert (await http.delete("/api/session")).status_code == 204
        assert await name_of(http) is None
        http.cookies.set("logistics", stolen)
        assert await name_of(http) is None


async def test_no_script_reads_the_cookie_no_foreign_request_carries_it_and_no_plain_page_gets_it(
    console: Callers, public: Callers
) -> None:
    for where, name, secure in ((console, "logistics", ""), (public, "__Host-logistics", True)):
        async with browser(where) as http:
            morsel = cookie(await http.post("/api/session", json=ANNA))
        assert (morsel.key, morsel["secure"]) == (name, secure)
        assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "lax", "/", "")
        assert (morsel["max-age"], morsel["expires"]) == ("", "")  # the browser's end is its end
        assert len(morsel.value) >= 43  # 256 bits


async def test_a_session_that_was_planted_before_signing_in_is_nobody_s_after_it(console: Callers) -> None:
    async with browser(console) as attacker, browser(console) as victim:
        await attacker.post("/api/session", json={"name": "rita", "password": PASSWORD})
        planted = attacker.cookies["logistics"]
        victim.cookies.set("logistics", planted, domain="localhost.local", path="/")
        await victim.post("/api/session", json=ANNA)
        assert await name_of(victim) == "anna"
        assert await name_of(attacker) is None  # and its own session ended, too
        victim.cookies.clear()
        victim.cookies.set("logistics", "made-up-by-an-attacker")
        morsel = cookie(await victim.post("/api/session", json=ANNA))
        assert morsel.value not in {planted, "made-up-by-an-attacker"}


async def test_a_changed_password_ends_the_sessions_of_the_old_one_and_a_removed_user_is_out(
    console: Callers, users: Path
) -> None:
    async with browser(console) as http:
        await http.post("/api/session", json=ANNA)
        put_user(users, new_user("anna", "operator", cheap_hash("another long password")))
        assert await name_of(http) is None
        await http.post("/api/session", json={**ANNA, "password": "another long password"})
        assert await name_of(http) == "anna"
        remove_user(users, "anna")
        assert await name_of(http) is None


async def test_guessing_is_stopped_for_the_right_password_too_and_others_get_in(console: Callers) -> None:
    async with browser(console) as http:
        guesses = [http.post("/api/session", json={**ANNA, "password": f"guess {n}"}) for n in range(20)]
        *answers, late = await asyncio.gather(*guesses, http.post("/api/session", json=ANNA))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15
        assert late.status_code == 429
        assert 0 < int(late.headers["retry-after"]) <= 900
        assert "too many sign-ins failed: try again in" in late.json()["detail"]
        other = await http.post("/api/session", json={"name": "otto", "password": PASSWORD})
        assert other.status_code == 200


async def test_a_name_that_does_not_exist_gets_the_answer_of_a_wrong_password(console: Callers) -> None:
    async with browser(console) as http:
        answers = [await http.post("/api/session", json={"name": name, "password": "x"}) for name in ("anna", "nobody")]
        answers.append(await http.post("/api/session", json={"name": "admin-bot", "password": "x"}))
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert "set-cookie" not in answers[0].headers


async def test_the_page_to_sign_in_on_needs_no_script_and_leads_to_the_page_that_was_wanted(console: Callers) -> None:
    async with browser(console) as http:
        asked = await http.get("/dead-letters?state=open", headers={"accept": "text/html"})
        assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=/dead-letters%3Fstate%3Dopen")
        form = await http.get(asked.headers["location"])
        assert 'value="/dead-letters?state=open"' in form.text
        assert "<script" not in form.text
        wrong = await http.post("/sign-in", data={**ANNA, "password": "no", "next": "/dead-letters"})
        assert (wrong.status_code, "no user of this name has this password" in wrong.text) == (401, True)
        done = await http.post("/sign-in", data={**ANNA, "next": "/dead-letters?state=open"})
        assert (done.status_code, done.headers["location"]) == (303, "/dead-letters?state=open")
        assert await name_of(http) == "anna"
        out = await http.post("/sign-out")
        assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
        assert await name_of(http) is None


async def test_signing_in_leads_nowhere_else(console: Callers) -> None:
    async with browser(console) as http:
        for wanted in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\t//evil"):
            assert 'value="/"' in (await http.get("/sign-in", params={"next": wanted})).text, wanted
            done = await http.post("/sign-in", data={**ANNA, "next": wanted})
            assert (done.status_code, done.headers["location"]) == (303, "/"), wanted


async def test_a_name_on_the_form_is_text_whatever_it_holds(console: Callers) -> None:
    async with browser(console) as http:
        shown = await http.get("/sign-in", params={"next": '/"><script>alert(1)</script>'})
    assert "<script" not in shown.text


def remove_user(users: Path, name: str) -> None:
    users.write_text("\n".join(line for line in users.read_text().splitlines() if not line.startswith(f"{name} ")))


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    {"host": "evil.example:8080"},
    {},
]


async def test_a_foreign_page_cannot_use_a_session(console: Callers) -> None:
    async with browser(console) as http:
        await http.post("/api/session", json=ANNA)
        secret = http.cookies["logistics"]
    for headers, path in itertools.product(FOREIGN, ("/api/replays", "/sign-out", "/_nicegui_ws/socket.io/")):
        async with console.caller(cookie=f"logistics={secret}", **headers) as http:
            refused = await http.post(path, json=ANNA)
            assert refused.status_code == 403, (headers, path, refused.text)
            assert "set-cookie" not in refused.headers
            for answer in (refused, await http.options(path)):
                assert "access-control-allow-origin" not in answer.headers
    async with console.caller(cookie=f"logistics={secret}") as http:
        assert await name_of(http) == "anna"  # it goes on


async def test_a_foreign_page_cannot_sign_somebody_in(console: Callers) -> None:
    async with console.caller(origin="https://evil.example") as http:
        for path, body in (("/api/session", {"json": ANNA}), ("/sign-in", {"data": ANNA})):
            answer = await http.post(path, **body)  # type: ignore[arg-type]
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_a_console_that_asks_nobody_answers_no_foreign_page_and_no_proxy() -> None:
    async with console_here(NOWHERE) as console, console.caller() as http:
        assert await name_of(http) == "tester"
        assert (await http.get("/", headers={"host": "rebound.example:8080"})).status_code == 403
        assert (await http.get("/", headers={"x-forwarded-for": "10.0.0.1"})).status_code == 403
        for headers in FOREIGN[:-1]:
            assert (await http.post("/api/replays", json={}, headers=headers)).status_code == 403
        assert (await http.post("/api/replays", json={})).status_code == 422  # curl is no browser


async def test_a_proxy_s_word_counts_from_its_own_address_alone(users: Path) -> None:
    named = {
        "TRUSTED_PROXIES": "10.9.0.0/16",
        "USER_HEADER": "X-User",
        "ROLE_HEADER": "X-Role",
        "PUBLIC_URL": PUBLIC,
        "ADDR": "0.0.0.0:0",
    }
    environment = {**NOWHERE, **{f"LOGISTICS_CONSOLE_{name}": value for name, value in named.items()}}
    claims = {"x-user": "root", "x-role": "admin"}
    async with console_here(environment, peer="10.8.0.1", url=PUBLIC) as console, console.caller(**claims) as http:
        assert (await http.get("/api/session")).status_code == 401
        assert (await http.get("/api/session", headers={"x-forwarded-for": "10.9.0.1"})).status_code == 401
    async with console_here(environment, peer="10.9.0.1", url=PUBLIC) as console, console.caller(**claims) as http:
        who = (await http.get("/api/session")).json()
        assert who == {"name": "root", "role": "admin", "way": "proxy", "masked": False}
        # The proxy's own cookie comes along with what a foreign page sends, so that is refused here, too.
        assert (await http.post("/api/replays", json={}, headers={"origin": "https://evil.example"})).status_code == 403
        assert (await http.post("/api/replays", json={})).status_code == 403


async def test_every_answer_tells_the_browser_what_not_to_allow(public: Callers) -> None:
    async with public.caller() as http:
        answers = [await http.get(path) for path in ("/livez", "/api/session", "/sign-in", "/api/nothing")]
        answers.append(await http.get("/", headers={"host": "evil.example"}))
    for answer in answers:
        told = answer.headers
        assert "frame-ancestors 'none'" in told["content-security-policy"]
        assert (
            "object-src 'none'" in told["content-security-policy"]
            or "default-src 'none'" in told["content-security-policy"]
        )
        assert (told["x-content-type-options"], told["referrer-policy"]) == ("nosniff", "same-origin")
        assert told["cache-control"] == "no-store"
        assert told["strict-transport-security"].startswith("max-age=")
        assert "server" not in told


async def test_a_fault_of_ours_is_told_without_what_it_was_and_the_log_has_it(
    public: Callers, users: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("an inner secret")

    monkeypatch.setattr(MongoAuditLog, "entries", fails)
    tokens = write_users(users)
    answering = replace(public, transport=httpx.ASGITransport(public.transport.app, raise_app_exceptions=False))
    async with answering.caller(tokens[Role.ADMIN]) as http:
        failed = await http.get("/api/audit")
    assert (failed.status_code, failed.headers["content-type"]) == (500, "application/problem+json")
    assert "an inner secret" not in failed.text
    assert failed.headers["x-content-type-options"] == "nosniff"
    assert "console.failed" in caplog.text
    assert "an inner secret" in caplog.text


async def test_a_request_that_is_too_large_is_refused_before_it_is_read(console: Callers, users: Path) -> None:
    async with browser(console) as http:
        await http.post("/api/session", json=ANNA)
        refused = await http.post("/api/replays", content=b"x" * (4 * 1024 * 1024))
        assert (refused.status_code, "a request has at most" in refused.json()["detail"]) == (413, True)

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(10_000):
                yield b"x" * 65536

        chunked = await http.post("/api/replays", content=endless())
        assert chunked.status_code == 413


async def test_no_password_is_repeated_in_an_answer_or_in_the_log(
    console: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3cret-Zq7-" * 200
    async with browser(console) as http:
        for body in ({"name": "anna", "password": secret}, {"name": ["anna"], "password": secret, "more": secret}):
            assert secret[:12] not in (await http.post("/api/session", json=body)).text
        assert secret[:12] not in (await http.post("/api/session", content=json.dumps([secret]))).text
        assert secret[:12] not in (await http.post("/sign-in", data={"name": "anna", "password": secret})).text
    assert secret[:12] not in caplog.text
