"""`logistics dead-letters edit` and what `show` tells of it, on a real store, a real broker and real workers."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.integration.test_dead_letters_cli import (
    Desk,
    Finished,
    _environment,
    desk,
    minutes_ago,
    run,
    run_on_terminal,
)
from tests.support.letters import a_letter
from tests.support.system import PROJECT, System, eventually
from worker.cli.dead_letters import dead_letters
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.selection import DeadLetterState

__all__ = ["desk"]  # the fixture

OPEN, REPLAYING, RESOLVED = DeadLetterState.OPEN, DeadLetterState.REPLAYING, DeadLetterState.RESOLVED
WHY = ("--why", "wrong town")


async def edit(desk: Desk, letter: DeadLetterRecord, *arguments: str, **settings: str) -> Finished:
    return await desk.run("edit", letter.id, *WHY, *arguments, **settings)


async def test_a_field_is_set_the_difference_shown_and_one_copy_sent(desk: Desk) -> None:
    letter = a_letter(body=b'{"order_id": "A-1", "price": 1.10, "destination": "Oslo"}', order_id="A-1")
    await desk.put(letter)
    done = await edit(desk, letter, "--set", "destination=Bergen", "--set", "gift.wrap=true", "--yes", "--by", "anna")
    assert done.code == 0, done.err
    assert '-  "destination": "Oslo"' in done.text.splitlines()
    assert '+  "destination": "Bergen",' in done.text.splitlines()
    assert not any("price" in line for line in done.text.splitlines() if line[0] in "+-")
    (copy,) = await desk.copies()
    assert copy.body == b'{"order_id": "A-1", "price": 1.10, "destination": "Bergen", "gift": {"wrap": true}}'
    stored = await desk.stored(letter)
    assert (stored.state, stored.version, stored.body) == (REPLAYING, 1, copy.body)
    assert (copy.headers["dead_letter_id"], copy.headers["replay_id"]) == (letter.id, stored.replay_id)
    raw = await desk.run("show", letter.id, "--raw", "--version", "0")
    assert raw == Finished(0, letter.body, "")
    assert (await desk.run("show", letter.id, "--raw", "--version", "1")).out == copy.body
    unknown = await desk.run("show", letter.id, "--raw", "--version", "2")
    assert (unknown.code, "there is no version 2" in unknown.err) == (1, True)


async def test_a_dry_run_of_an_edit_shows_the_difference_and_sends_nothing(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    shown = await edit(desk, letter, "--set", "destination=Bergen", "--dry-run")
    assert (shown.code, "nothing was sent" in shown.text) == (0, True)
    planned = (await edit(desk, letter, "--set", "destination=Bergen", "--dry-run", "--json")).json
    assert (planned["dry_run"], planned["version"], planned["result"]) == (True, 1, None)
    assert '+  "destination": "Bergen"' in planned["body_changes"]
    assert await desk.stored(letter) == letter
    assert await desk.copies() == []


async def test_a_body_comes_from_a_file_byte_for_byte(desk: Desk, tmp_path: Path) -> None:
    letter = a_letter(body=b"\xff\x00 no order", order_id=None, reason="malformed")
    await desk.put(letter)
    body = b'{\r\n  "order_id": "A-9",\t"destination": "Z\xc3\xbcrich"}\n'
    file = tmp_path / "body.json"
    file.write_bytes(body)
    assert (await edit(desk, letter, "--file", str(file), "--yes")).code == 0
    (copy,) = await desk.copies()
    stored = await desk.stored(letter)
    assert (copy.body, stored.body, stored.order_id) == (body, body, "A-9")
    assert (await desk.run("show", letter.id, "--raw", "--version", "0")).out == letter.body


def an_editor(folder: Path, change: str) -> str:
    script = folder / "editor.py"
    script.write_text(
        f"import pathlib, sys\np = pathlib.Path(sys.argv[1])\nt = p.read_text()\np.write_text({change})\n"
    )
    return f"{sys.executable} {script}"


async def test_without_a_file_or_a_field_the_editor_gets_the_body_laid_out(desk: Desk, tmp_path: Path) -> None:
    letter = a_letter(body=b'{"order_id":"A-1","destination":"Oslo"}', order_id="A-1")
    await desk.put(letter)
    editor = an_editor(tmp_path, 't.replace(\'  "destination": "Oslo"\', \'  "destination": "Bergen"\')')
    code, shown = await asyncio.to_thread(
        run_on_terminal, {**desk.environment, "VISUAL": editor}, "edit", letter.id, *WHY, answer=b"y\n"
    )
    assert code == 0, shown
    assert "Send it?" in shown
    (copy,) = await desk.copies()
    assert json.loads(copy.body) == {"order_id": "A-1", "destination": "Bergen"}


async def test_an_editor_that_changes_nothing_sends_nothing(desk: Desk, tmp_path: Path) -> None:
    letter = a_letter()
    await desk.put(letter)
    done = await edit(desk, letter, "--yes", VISUAL=an_editor(tmp_path, "t + '\\n'"))
    assert (done.code, "nothing changed: use 'replay'" in done.err) == (1, True)
    assert await desk.stored(letter) == letter


async def test_an_operator_who_says_no_sends_nothing(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    arguments = ("edit", letter.id, *WHY, "--set", "destination=Bergen")
    code, shown = await asyncio.to_thread(run_on_terminal, desk.environment, *arguments, answer=b"n\n")
    assert (code, '+  "destination": "Bergen"' in shown) == (1, True)
    assert await desk.stored(letter) == letter
    refused = await edit(desk, letter, "--set", "destination=Bergen")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert await desk.copies() == []


async def test_of_two_operators_who_press_at_once_exactly_one_sends(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    towns = ["Bergen", "Narvik", "Hamar", "Molde"]
    all_done = await asyncio.gather(
        *(edit(desk, letter, "--set", f"destination={town}", "--yes", "--by", town) for town in towns)
    )
    (winner,) = [town for town, done in zip(towns, all_done, strict=True) if done.code == 0]
    (copy,) = await desk.copies()
    assert json.loads(copy.body)["destination"] == winner
    stored = await desk.stored(letter)
    assert (stored.body, stored.version) == (copy.body, 1)
    losers = [done for done in all_done if done.code != 0]
    assert len(losers) == 3
    assert all(done.code == 1 and f"is being replayed by {winner}, since " in done.err for done in losers)
    assert (await desk.run("show", letter.id, "--raw", "--version", "0")).out == letter.body


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "order_id=another"], "the order id may not change"),
        (["--set", "destination="], "the edited body is not valid: destination: "),
        (["--set", "destination=7"], "the edited body is not valid: destination: "),
        (["--header", "x-none="], "there is no header 'x-none' to drop"),
    ],
)
async def test_an_edit_that_may_not_be_is_refused_with_one_line(desk: Desk, arguments: list[str], words: str) -> None:
    letter = a_letter()
    await desk.put(letter)
    refused = await edit(desk, letter, *arguments, "--yes")
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, b"", 1)
    assert words in refused.err
    assert await desk.stored(letter) == letter


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["--header", f"{name}=1"]
            for name in ("attempt", "trace_id", "dead_letter_id", "x-death", "x-delivery-count")
        ),
        ["--header", "attempt="],
        ["--header", "x-tenant"],
        ["--set", "destination"],
        ["--set", "=1"],
        ["--set", "destination=Bergen", "--file", "-"],
        ["--wait", "soon"],
        ["--why", " "],
    ],
)
def test_a_locked_header_and_other_wrong_use_is_told_before_anything_is_done(arguments: list[str]) -> None:
    answer = CliRunner().invoke(dead_letters, ["edit", "some-id", *WHY, *arguments])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "Error: " in answer.stderr


def test_edit_explains_itself_with_examples() -> None:
    answer = CliRunner().invoke(dead_letters, ["edit", "--help"])
    assert "  logistics dead-letters edit" in answer.output.partition("Examples:")[2]


async def test_headers_of_the_publisher_are_set_and_dropped(desk: Desk) -> None:
    letter = a_letter(headers={"x-tenant": "acme", "x-old": "1", "origin_routing_key": "order.placed"})
    await desk.put(letter)
    done = await edit(desk, letter, "--header", "x-tenant=zeta", "--header", "x-old=", "--yes")
    assert done.code == 0, done.err
    assert {"-header x-old: 1", "-header x-tenant: acme", "+header x-tenant: zeta"} <= set(done.text.splitlines())
    (copy,) = await desk.copies()
    assert (copy.headers["x-tenant"], "x-old" in copy.headers, copy.body) == ("zeta", False, letter.body)


async def test_a_copy_that_cannot_be_routed_leaves_the_letter_open_with_its_edited_body(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    arguments = ("--set", "destination=Bergen", "--to-exchange", "gone", "--yes")
    refused = await edit(desk, letter, *arguments)
    assert refused.code == 1
    assert "Not sent: the exchange 'gone' does not exist" in refused.text
    stored = await desk.stored(letter)
    assert (stored.state, stored.version, json.loads(stored.body)["destination"]) == (OPEN, 1, "Bergen")


async def test_without_a_broker_nothing_is_claimed_by_an_edit(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    away = {"LOGISTICS_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/"}
    answer = await edit(desk, letter, "--set", "destination=Bergen", "--yes", **away)
    assert answer.code == 1
    assert answer.err.startswith("logistics: RabbitMQ is not reachable")
    assert await desk.stored(letter) == letter


KILLED_BETWEEN_CLAIM_AND_PUBLISH = """
import os, signal
from infra.rabbitmq.replay_publisher import ReplayPublisher

async def die(self, **_):
    os.kill(os.getpid(), signal.SIGKILL)

ReplayPublisher.publish_copy = die
from worker.cli import main
main()
"""


async def test_an_edit_that_is_killed_between_claim_and_publish_is_open_again_after_the_sweep(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    arguments = ("dead-letters", "edit", letter.id, *WHY, "--set", "destination=Bergen", "--yes", "--by", "anna")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED_BETWEEN_CLAIM_AND_PUBLISH, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=PROJECT,
        env=_environment(desk.environment),
    )
    assert await process.wait() == -9
    assert await desk.state(letter) is REPLAYING
    assert await desk.copies() == []
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await desk.store.reopen_abandoned(claimed_before=later, now=later) == 1
    stored = await desk.stored(letter)
    assert (stored.state, json.loads(stored.body)["destination"]) == (OPEN, "Bergen")
    assert (await desk.run("show", letter.id, "--raw", "--version", "0")).out == letter.body
    shown = (await desk.run("show", letter.id)).text
    assert "nobody knows whether it was sent" in shown


# with workers


async def the_open_letter(system: System) -> dict[str, Any]:
    await eventually(lambda: len(system.letters(state="open")) == 1)
    (letter,) = system.letters(state="open")
    return letter


async def test_a_malformed_letter_edited_into_an_order_ships_and_is_resolved(system: System) -> None:
    await system.start_worker()
    await system.publish(b'{"order_id": "A-1", "destination": 7}', timestamp=datetime.now(UTC))
    letter = await the_open_letter(system)
    done = await run(
        system.environment(),
        *("edit", letter["_id"], *WHY, "--set", "destination=Bergen", "--yes", "--wait", "20s", "--json"),
    )
    assert (done.code, done.json["result"], done.json["replay"]["outcome"]) == (0, "sent", "resolved"), done.text
    assert system.status("A-1") == "SHIPPED"
    assert system.letters()[0]["state"] == "resolved"
    shown = await run(system.environment(), "show", letter["_id"], "--json")
    assert [version["number"] for version in shown.json["versions"]] == [0, 1]
    (replay,) = shown.json["replays"]
    assert (replay["outcome"], replay["version"]) == ("resolved", 1)
    events = [entry["event"]["event"] for entry in shown.json["timeline"]]
    assert events[0] == "published"
    assert {"filed", "edited", "replayed", "received", "shipped", "resolved"} <= set(events)
    text = (await run(system.environment(), "show", letter["_id"])).text
    assert "resolved after " in text
    assert "as it arrived" in text


async def test_an_edited_copy_that_fails_again_is_the_same_letter_with_both_bodies(system: System) -> None:
    system.supplier.change(rules=[{"match": "*", "refuse": True}])
    await system.start_worker()
    await system.publish_order("A-1")
    letter = await the_open_letter(system)
    done = await run(
        system.environment(),
        *("edit", letter["_id"], *WHY, "--set", "destination=Bergen", "--yes", "--wait", "20s"),
    )
    assert done.code == 1
    assert "Outcome: failed again after " in done.text
    (again,) = system.letters()
    assert (again["_id"], again["state"], again["replay_count"], again["version"]) == (letter["_id"], "open", 1, 1)
    assert json.loads(again["body"]) == {"order_id": "A-1", "destination": "Bergen"}
    original = await run(system.environment(), "show", letter["_id"], "--raw", "--version", "0")
    assert original.out == bytes(letter["body"])
    system.supplier.change(rules=[])
    shipped = await run(system.environment(), "replay", letter["_id"], "--why", "mended", "--wait", "20s")
    assert shipped.code == 0, shipped.text
    await eventually(lambda: system.letters()[0]["state"] == "resolved")
    assert (system.shipment("A-1") or {})["destination"] == "Bergen"


# show


async def test_show_tells_what_became_of_each_replay_and_of_the_order_s_other_letters(desk: Desk) -> None:
    letter = a_letter(order_id="A-1", dead_lettered_at=minutes_ago(9), published_at=minutes_ago(20))
    other = a_letter(order_id="A-1", dead_lettered_at=minutes_ago(15), reason="expired", state=RESOLVED)
    await desk.put(letter, other)
    await desk.store.claim_for_replay(letter.id, replay_id="r1", by="anna", now=minutes_ago(8))
    await desk.store.give_back(letter.id, replay_id="r1", now=minutes_ago(8))
    await desk.store.claim_for_replay(letter.id, replay_id="r2", by="ben", now=minutes_ago(7))
    await desk.store.confirm_replay(letter.id, replay_id="r2", now=minutes_ago(7))
    assert "on its way: waiting in the queue" in (await desk.run("show", letter.id)).text
    await desk.store.mark_taken(letter.id, replay_id="r2", by="vm-1", now=minutes_ago(6))
    shown = (await desk.run("show", letter.id)).text
    replays = shown.partition("Replays")[2].splitlines()[2:4]
    assert [line.split()[3] for line in replays] == ["anna", "ben"]
    assert "not sent: the broker refused it" in replays[0]
    assert "on its way: taken by worker vm-1" in replays[1]
    history = shown.partition("History")[2].splitlines()
    assert "published" in history[2]
    assert f"other dead letter  dead_lettered  {other.id} · expired, resolved" in history[3]
