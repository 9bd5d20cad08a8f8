"""A night's work through the console's API: a real worker performs what is asked for."""

from typing import Any

import httpx

from tests.support.console import caller, running_console
from tests.support.system import System, eventually


async def test_what_is_asked_for_through_the_api_a_worker_does(system: System) -> None:
    worker = await system.start_worker()
    name = worker.events("worker.started")[0]["worker"]
    system.supplier.change(rules=[{"match": "B-*", "refuse": True}])
    for order_id in ("B-1", "B-2", "B-3"):
        await system.publish_order(order_id)
    await eventually(lambda: len(system.letters(state="open")) == 3)
    with running_console(system.environment(LOGISTICS_OPERATOR="olga"), system.folder / "console.log") as console:
        await console.started()
        async with caller(console.url) as http:
            letters = (await document(http, "/api/dead-letters"))["dead_letters"]
            system.supplier.change(rules=[])
            await edited_and_shipped(http, next(letter for letter in letters if letter["order_id"] == "B-1"))
            await replayed(http)
            assert {letter["state"] for letter in system.letters()} == {"resolved"}
            await held_back_and_let_go(http, name)
            story = await document(http, "/api/orders/story?order_id=B-2")
            assert story["shipment"]["status"] == "SHIPPED"
            events = {entry["event"]["event"] for entry in story["timeline"]}
            assert events >= {"received", "failed", "replayed", "taken", "shipped", "resolved"}
            entries = (await document(http, "/api/audit"))["entries"]
            assert {entry["who"] for entry in entries if not entry["action"].startswith("replay.done")} == {"olga"}


async def document(http: httpx.AsyncClient, path: str, **body: Any) -> Any:
    """Return what is answered, to a GET or, with a body, to a POST."""
    answer = await (http.post(path, json=body) if body else http.get(path))
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


async def edited_and_shipped(http: httpx.AsyncClient, letter: dict[str, Any]) -> None:
    at = f"/api/dead-letters/{letter['id']}"
    whole = await document(http, at)
    fields = {"destination": "Bergen"}
    sent = await document(http, f"{at}/edit", revision=whole["revision"], fields=fields, why="moved")
    assert sent["result"] == "sent"

    async def resolved() -> bool:
        return bool((await document(http, f"{at}/replays/{sent['replay_id']}"))["outcome"] == "resolved")

    await eventually(resolved)


async def replayed(http: httpx.AsyncClient) -> None:
    plan = await document(http, "/api/replays", everything=True, dry_run=True)
    job = await document(http, "/api/replays", everything=True, why="mended", expected=plan["would_replay"])

    async def done() -> bool:
        shown = await document(http, f"/api/replays/{job['id']}")
        return bool((shown["state"], shown["resolved"]) == ("done", 2))

    await eventually(done)


async def held_back_and_let_go(http: httpx.AsyncClient, name: str) -> None:
    for path, wish in (
        ("pause", {"why": "a look"}),
        ("resume", {"why": ""}),
        ("prefetch", {"prefetch": 7, "workers": [name]}),
        ("circuit/open", {"why": "wrong addresses"}),
        ("circuit/reset", {"why": "mended"}),
    ):
        answers = await document(http, f"/api/workers/{path}", **wish)
        assert (answers["done"], answers["not_answered"]) == ([name], [])
    (worker,) = (await document(http, "/api/workers"))["workers"]
    assert (worker["prefetch"], worker["paused"], worker["circuit_held_open"]) == (7, False, None)
