"""Who did what, when, why."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from infra.console.desk.desk import desk_of
from infra.console.pages.forms import choice, field, filter_form, time_field
from infra.console.pages.kit import Tag, chip, empty, link, table, when
from infra.console.pages.letter_filter import WrongAddressError
from infra.console.pages.shell import Shell
from infra.console.pages.text import UNKNOWN, number
from infra.console.pages.words import BAD, GOOD, WARN
from worker.domain.audit_entry import AuditAction, AuditEntry
from worker.domain.durations import read_time

HOME = "/audit"
_MOST = 100


@ui.page(HOME, response_timeout=10)
async def audit(request: Request) -> None:
    """Show the actions that the address asks for."""
    shell = Shell("Audit", desk_of(request), here=HOME)
    given = {name: text.strip() for name, text in request.query_params.items() if text.strip()}
    with shell.page():
        Tag("h1", "Audit")
        with Tag("div", classes="card"):
            _form(given)
        entries = await shell.desk.system.audit(
            limit=_MOST,
            who=given.get("who"),
            action=given.get("action"),
            job_id=given.get("job_id"),
            since=_time(given, "since"),
            until=_time(given, "until"),
        )
        with Tag("div", classes="card flush"):
            _entries(entries)


def _form(given: Mapping[str, str]) -> None:
    families = sorted({action.partition(".")[0] for action in AuditAction})
    with filter_form(HOME, "Filter the audit log", given):
        choice("What", "action", ["", *families], given.get("action", ""))
        field("Who", "who", given.get("who", ""))
        time_field("Since", "since", given.get("since", ""))
        time_field("Until", "until", given.get("until", ""))
        field("Replay job", "job_id", given.get("job_id", ""))


def _entries(entries: Sequence[AuditEntry]) -> None:
    if not entries:
        empty("Nothing was done", "Every replay, edit, discard and control is written down here, with who and why.")
        return
    with table("Actions", "When", "Who", "What", "To what", "Why", "Moved|num roomy", "End|roomy"):
        for entry in entries:
            with Tag("tr"):
                with Tag("td", classes="tight"):
                    when(entry.at)
                with Tag("td", classes="tight"):
                    link(entry.who, f"{HOME}?who={quote(entry.who, safe='')}")
                Tag("td", entry.action, "tight")
                with Tag("td", classes="break"):
                    Tag("span", entry.what)
                    if entry.job_id is not None:
                        link("see it", f"/replays/{entry.job_id}", "gap")
                Tag("td", entry.why or UNKNOWN, "break")
                Tag("td", number(entry.count), "num roomy")
                with Tag("td", classes="roomy"):
                    _end(entry.result)
    if len(entries) == _MOST:
        Tag("p", f"The newest {_MOST}: narrow the filter to see others.", "soft small padded")


def _end(result: str | None) -> None:
    if result is None:
        chip("no end", WARN).put(title="it has not ended, or the process died over it")
    elif result == "done":
        chip("done", GOOD)
    else:
        chip("refused", BAD).put(title=result)


def _time(given: Mapping[str, str], name: str) -> datetime | None:
    try:
        return read_time(given[name], now=datetime.now(UTC)) if name in given else None
    except ValueError as error:
        raise WrongAddressError(f"{name}: {error}") from None
