"""`logistics dead-letters discard`, `restore` and `logistics audit` as programs, on a real store."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.store import MongoStore
from tests.conftest import Mongo
from tests.integration.test_dead_letters_cli import Desk, desk, minutes_ago, run_on_terminal
from tests.support import command
from tests.support.letters import a_letter
from worker.cli.audit import audit
from worker.cli.dead_letters import dead_letters
from worker.domain.audit_entry import AuditEntry
from worker.domain.selection import DeadLetterState, Selection

__all__ = ["desk"]  # the fixture

OPEN, REPLAYING = DeadLetterState.OPEN, DeadLetterState.REPLAYING
RESOLVED, DISCARDED = DeadLetterState.RESOLVED, DeadLetterState.DISCARDED
WHY = ("--why", "test orders")


async def test_a_letter_is_discarded_shows_when_it_goes_and_is_restored(desk: Desk) -> None:
    letter, other = a_letter(), a_letter()
    await desk.put(letter, other)
    done = await desk.run("discard", letter.id[:13], *WHY, "--by", "anna")
    assert (done.code, done.text) == (0, "Discarded: 1; expires in 14 days\n")
    listed = await desk.run("list", "--state", "discarded")
    assert "expires in 14 days" in listed.text.splitlines()[1]
    shown = (await desk.run("show", letter.id)).text
    assert "discarded, expires in 14 days" in shown
    assert "by anna · test orders" in shown
    assert await desk.state(other) is OPEN
    done = await desk.run("restore", letter.id, "--why", "was real", "--by", "ben")
    assert (done.code, done.text) == (0, "Restored: 1\n")
    stored = await desk.stored(letter)
    assert (stored.state, stored.expires_at) == (OPEN, None)


async def test_the_retention_is_a_setting(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    done = await desk.run("discard", letter.id, *WHY, LOGISTICS_DISCARD_RETENTION="36h")
    assert done.text == "Discarded: 1; expires in 35 hours\n"
    stored = await desk.stored(letter)
    assert stored.expires_at is not None
    assert abs(stored.expires_at - datetime.now(UTC) - timedelta(hours=36)) < timedelta(minutes=1)


async def test_a_group_is_discarded_and_restored(desk: Desk) -> None:
    wanted = [a_letter(fingerprint="feedfeedfeed") for _ in range(3)]
    others = [a_letter(), a_letter(fingerprint="feedfeedfeed", state=RESOLVED)]
    await desk.put(*wanted, *others)
    done = await desk.run("discard", "--group", "feedfeedfeed", *WHY, "--yes", "--json")
    assert done.code == 0
    assert (done.json["discarded"], done.json["left_alone"], done.json["changed"]) == (3, {"resolved": 1}, 0)
    assert [await desk.state(letter) for letter in (*wanted, *others)] == [DISCARDED] * 3 + [OPEN, RESOLVED]
    done = await desk.run("restore", "--group", "feedfeedfeed", *WHY, "--yes", "--json")
    assert (done.json["restored"], done.json["given_up"]) == (3, 0)
    assert [await desk.state(letter) for letter in (*wanted, *others)] == [OPEN] * 4 + [RESOLVED]


async def test_many_letters_are_discarded_while_others_arrive_and_none_of_those_is_swept_in(desk: Desk) -> None:
    letters = [a_letter(fingerprint="feedfeedfeed") for _ in range(2500)]
    await asyncio.gather(*(desk.store.insert(letter) for letter in letters))
    # The command stops for its question with the count shown; what arrives then comes after it.
    newcomers = [a_letter(fingerprint="feedfeedfeed") for _ in range(5)]
    loop = asyncio.get_running_loop()

    def arrive_and_agree() -> bytes:
        asyncio.run_coroutine_threadsafe(desk.put(*newcomers), loop).result(30)
        return b"y\n"

    code, shown = await asyncio.to_thread(
        run_on_terminal, desk.environment, "discard", "--group", "feedfeedfeed", *WHY, answer=arrive_and_agree
    )
    assert code == 0
    assert "Discard 2,500 dead letters?" in shown
    assert "Discarded: 2,500" in shown
    assert [await desk.state(letter) for letter in newcomers] == [OPEN] * 5
    assert await desk.store.count(Selection(state=DISCARDED)) == 2500


async def test_two_operators_discard_the_same_letters_and_each_letter_once(desk: Desk) -> None:
    await asyncio.gather(*(desk.store.insert(a_letter()) for _ in range(300)))
    both = await asyncio.gather(*(desk.run("discard", "--all", *WHY, "--yes", "--json") for _ in range(2)))
    assert [done.code for done in both] == [0, 0]
    assert sum(done.json["discarded"] for done in both) == 300


async def test_a_letter_that_is_being_replayed_is_left_alone_until_its_replay_is_overdue(desk: Desk) -> None:
    letter = a_letter()
    await desk.put(letter)
    await desk.store.claim_for_replay(letter.id, replay_id="r1", by="ben", now=minutes_ago(10))
    for action in ("discard", "restore"):
        refused = await desk.run(action, letter.id, *WHY)
        assert refused.code == 1
        assert "Left alone: 1 replaying (give one up after 30m: restore, by its ID)" in refused.text
    assert await desk.state(letter) is REPLAYING
    done = await desk.run("restore", letter.id, *WHY, LOGISTICS_REPLAY_OVERDUE="9m")
    assert (done.code, "Replays given up: 1" in done.text) == (0, True)
    stored = await desk.stored(letter)
    assert (stored.state, stored.history[-1].event) == (OPEN, "given_up")


async def test_a_dry_run_of_a_discard_changes_nothing(desk: Desk) -> None:
    letters = [a_letter(), a_letter(), a_letter(state=RESOLVED)]
    await desk.put(*letters)
    shown = await desk.run("discard", "--all", "--dry-run")
    assert (shown.code, "To be discarded: 2" in shown.text) == (0, True)
    planned = (await desk.run("discard", "--all", *WHY, "--dry-run", "--json")).json
    assert (planned["dry_run"], planned["matched"], planned["left_alone"]) == (True, 2, {"resolved": 1})
    assert [await desk.state(letter) for letter in letters] == [OPEN, OPEN, RESOLVED]


async def test_more_than_one_needs_a_yes_where_nobody_can_be_asked_to_discard(desk: Desk) -> None:
    letters = [a_letter(), a_letter()]
    await desk.put(*letters)
    refused = await desk.run("discard", "--all", *WHY)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    code, _ = await asyncio.to_thread(run_on_terminal, desk.environment, "discard", "--all", *WHY, answer=b"n\n")
    assert code == 1
    assert await desk.state(letters[0]) is OPEN


@pytest.mark.parametrize("action", ["discard", "restore"])
@pytest.mark.parametrize(
    "arguments", [[], ["--all"], ["some-id"], ["--all", "--why", "  "], [*WHY], ["--all", "some-id", *WHY]]
)
def test_a_discard_without_a_reason_or_without_saying_which_is_wrong_use(action: str, arguments: list[str]) -> None:
    answer = CliRunner().invoke(dead_letters, [action, *arguments])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "Error: " in answer.stderr


@pytest.mark.parametrize("action", ["discard", "restore"])
def test_discard_and_restore_explain_themselves_with_examples(action: str) -> None:
    answer = CliRunner().invoke(dead_letters, [action, "--help"])
    assert f"  logistics dead-letters {action}" in answer.output.partition("Examples:")[2]


# audit


async def test_the_audit_log_tells_who_did_what_to_how_many_and_why(desk: Desk) -> None:
    letters = [a_letter(fingerprint="feedfeedfeed") for _ in range(2)]
    await desk.put(*letters)
    await desk.run("discard", "--group", "feedfeedfeed", *WHY, "--yes", "--by", "anna")
    await desk.run("restore", letters[0].id, "--why", "\x1b[2J was real", LOGISTICS_OPERATOR="ben")
    shown = await command.run(desk.environment, "audit")
    assert shown.code == 0
    newest, older = shown.out.splitlines()[1:]
    assert newest.split()[3:6] == ["ben", "restore", "1"]
    assert "why: \\x1b[2J was real" in newest
    assert older.split()[3:6] == ["anna", "discard", "2"]
    assert "2 dead letters (group feedfeedfeed) · why: test orders" in older
    only = await command.run(desk.environment, "audit", "--who", "anna", "--since", "1h", "--json")
    (entry,) = only.document["entries"]
    assert (entry["action"], entry["count"], entry["result"], entry["finished"]) == ("discard", 2, "done", True)


async def test_an_action_without_an_end_is_shown_as_not_finished(desk: Desk, mongo: Mongo) -> None:
    store = MongoStore(mongo.uri, database=mongo.database)
    await MongoAuditLog(store).begin(AuditEntry("e1", minutes_ago(1), "anna", "discard", "old", "7 dead letters"))
    await store.close()
    shown = await command.run(desk.environment, "audit")
    assert shown.out.splitlines()[1].endswith("7 dead letters · why: old · not finished")
    assert (await command.run(desk.environment, "audit", "--json")).document["entries"][0]["finished"] is False


async def test_an_audit_log_that_has_nothing_is_no_failure(desk: Desk) -> None:
    assert (await command.run(desk.environment, "audit")).out == "Nothing that matches was done.\n"


def test_the_audit_command_explains_itself_with_examples() -> None:
    assert "  logistics audit" in CliRunner().invoke(audit, ["--help"]).output.partition("Examples:")[2]
