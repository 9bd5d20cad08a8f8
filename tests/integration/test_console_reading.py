"""What the console's API shows of a real store and broker, and to whom."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from infra.console.access.roles import Role
from infra.console.desk.masks import HIDDEN
from tests.conftest import Broker, Mongo
from tests.support.command import run
from tests.support.console_office import Office, an_office
from tests.support.letters import NOW, a_letter
from tests.support.system import eventually
from worker.domain.shipment import shipment_id_for

SECRET_PLACE = "Karl Johans gate 1"


@pytest.fixture
async def office(broker: Broker, mongo: Mongo, tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(broker, mongo, tmp_path) as opened:
        yield opened


async def test_the_api_answers_with_the_documents_that_the_command_line_prints(office: Office) -> None:
    letter = a_letter()
    office.put(letter)
    shown = await run(office.environment, "dead-letters", "show", letter.id, "--json")
    assert await office.document(f"/api/dead-letters/{letter.id}", Role.OPERATOR) == {**shown.document, "masked": False}
    groups = await run(office.environment, "dead-letters", "groups", "--json")
    assert await office.document("/api/dead-letters/groups") == groups.document
    hours = await run(office.environment, "dead-letters", "hours", "--json")
    assert await office.document("/api/dead-letters/hours") == hours.document
    listed = await run(office.environment, "dead-letters", "list", "--json")
    assert (await office.document("/api/dead-letters"))["dead_letters"] == listed.document["dead_letters"]
    exported = await run(office.environment, "dead-letters", "export")
    assert (await office.get("/api/dead-letters/export", Role.OPERATOR)).text == exported.out


async def test_a_list_comes_in_parts_without_gap_or_overlap(office: Office) -> None:
    letters = [a_letter(dead_lettered_at=NOW) for _ in range(5)]
    office.put(*letters, a_letter(reason="malformed"))
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        part = await office.document("/api/dead-letters", reason="supplier_rejected", limit=2, **cursor)
        assert part["total"] == 5
        found += [letter["id"] for letter in part["dead_letters"]]
        if part["next"] is None:
            break
        cursor = {"cursor": part["next"]}
    assert found == sorted((letter.id for letter in letters), reverse=True)


async def test_a_reader_sees_no_destination_and_no_body_and_an_operator_does(office: Office) -> None:
    letter = a_letter(body=json.dumps({"order_id": "A-1", "destination": SECRET_PLACE}).encode(), order_id="A-1")
    office.put(letter)
    office.put_shipment("A-1", SECRET_PLACE)
    paths = [f"/api/dead-letters/{letter.id}", "/api/dead-letters", "/api/orders/story?order_id=A-1"]
    for path in paths:
        assert SECRET_PLACE not in json.dumps(await office.document(path)), path
    masked = await office.document(paths[0])
    assert (masked["masked"], masked["body_base64"], masked["body_text"]) == (True, None, None)
    assert masked["versions"][0]["size"] == len(letter.body)
    assert (await office.document(paths[2]))["shipment"]["destination"] == HIDDEN
    for path in (f"/api/dead-letters/{letter.id}/body", "/api/dead-letters/export"):
        assert (await office.get(path)).status_code == 403, path
    whole = await office.document(paths[0], Role.OPERATOR)
    assert base64.b64decode(whole["body_base64"]) == letter.body
    assert (await office.document(paths[2], Role.OPERATOR))["shipment"]["destination"] == SECRET_PLACE


async def test_a_body_comes_byte_for_byte(office: Office) -> None:
    letter = a_letter(body=b'\x00\xff<script>{"n": 1.10}\r\n')
    office.put(letter)
    raw = await office.get(f"/api/dead-letters/{letter.id}/body", Role.OPERATOR)
    assert raw.content == letter.body
    assert raw.headers["content-type"] == "application/octet-stream"
    assert raw.headers["content-disposition"].startswith("attachment")
    missing = await office.get(f"/api/dead-letters/{letter.id}/body", Role.OPERATOR, version=7)
    assert missing.status_code == 404
    assert "there is no version 7" in missing.json()["detail"]


async def test_an_order_is_found_by_any_of_its_ids_and_its_story_told(office: Office) -> None:
    office.put(a_letter(order_id="A-17", trace_id="trace-x"))
    office.put_shipment("A-17")
    for text in ("A-17", shipment_id_for("A-17"), "trace-x"):
        assert await office.document("/api/orders", q=text) == {"orders": ["A-17"]}
    assert await office.document("/api/orders", q="B") == {"orders": []}
    story = await office.document("/api/orders/story", order_id="A-17")
    assert (story["trace_id"], story["shipment"]["status"], len(story["dead_letters"])) == ("trace-x", "FAILED", 1)
    unknown = await office.get("/api/orders/story", order_id="B")
    assert unknown.status_code == 404
    assert "nothing is known of the order 'B'" in unknown.json()["detail"]


async def test_what_is_wrong_with_a_request_is_said_part_by_part(office: Office) -> None:
    wrong = await office.get("/api/dead-letters", state="shut", since="yesterday", colour="red")
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.status_code == 422
    said = "\n".join(wrong.json()["errors"])
    assert "query.state" in said
    assert "query.since: 'yesterday' is no time: write 2h" in said
    assert "query.colour" in said
    assert (await office.get("/api/dead-letters/nothing-of-the-kind")).status_code == 422
    gone = await office.get("/api/dead-letters/00000000-0000-0000-0000-000000000000")
    assert (gone.status_code, gone.json()["title"]) == (404, "Not Found")
    nothing = await office.get("/api/nothing")
    assert (nothing.status_code, nothing.json()["detail"]) == (
        404,
        "there is no /api/nothing; /api/docs lists what there is",
    )
    wrong_way = await office.post("/api/overview")
    assert (wrong_way.status_code, wrong_way.headers["allow"]) == (405, "GET")
    assert wrong_way.json()["detail"] == "/api/overview takes GET; /api/docs tells how"


async def test_the_overview_says_what_is_wrong(office: Office) -> None:
    office.put(a_letter())
    overview: dict[str, Any] = {}

    async def has_seen_it() -> bool:
        overview.update(await office.document("/api/overview"))
        return bool(overview["open_dead_letters"])

    await eventually(has_seen_it, timeout=5.0)
    assert overview["open_dead_letters"] == {"supplier_rejected": 1}
    assert any("1 dead letter open" in problem for problem in overview["problems"])


async def test_the_document_of_the_api_is_to_be_had_without_a_console(office: Office) -> None:
    printed = await run({}, "schema", "--openapi")
    assert printed.document == await office.document("/api/openapi.json")


async def test_the_page_about_the_api_needs_nothing_from_anywhere_else(office: Office) -> None:
    page = await office.get("/api/docs")
    assert "GET /api/dead-letters/{letter_id}" in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
