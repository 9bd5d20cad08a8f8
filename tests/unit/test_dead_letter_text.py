"""Dead letters as text, JSON and filters: whatever a message holds, a terminal is not moved by it."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.support.letters import NOW, a_letter
from worker.cli.dead_letter_edit_views import print_edit
from worker.cli.dead_letter_text import ago, body_lines, expires, short_duration, shortened
from worker.cli.dead_letter_view import print_letter
from worker.cli.dead_letter_views import groups_table, list_table
from worker.cli.output import plain
from worker.cli.replay_picture import picture
from worker.cli.replay_views import print_letters, print_list, print_plan, print_progress
from worker.documents import json_text
from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.durations import read_time
from worker.domain.edit import Edit
from worker.domain.letter_story import ReplayEnd, ReplayStory, timeline
from worker.domain.letter_version import LetterVersion
from worker.domain.letter_view import LetterView
from worker.domain.replay import Origin
from worker.domain.replay_job import ItemState, JobState, ReplayItem, ReplayJob, ReplayOptions, ReplayTally
from worker.domain.replay_jobs import ReplayProgress
from worker.domain.replay_plan import ReplayPlan
from worker.domain.selection import DeadLetterGroup, Selection
from worker.domain.shipment import HistoryEvent
from worker.letter_documents import whole_document

HOSTILE = "\x1b[2J\x1b]0;title\x07\r\b\x9b31m\u202egnp\u2028[red]x[/red][/]\x7f\ud800\x00"


def rendered(print_it: Any) -> str:
    out = Console(file=io.StringIO(), width=80, highlight=False, markup=False, emoji=False)
    print_it(out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def moves_nothing(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@given(st.one_of(st.text(alphabet=st.characters()), st.binary()))
def test_plain_text_is_one_printable_line(value: str | bytes) -> None:
    assert plain(value).isprintable()


def test_plain_text_that_is_printable_stays_as_it_is() -> None:
    assert plain("Zürich 東京 [bold]") == "Zürich 東京 [bold]"


@given(st.binary())
def test_any_body_is_shown_as_printable_lines(body: bytes) -> None:
    assert all(line.isprintable() for line in body_lines(body))


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=_json, compact=st.booleans())
def test_a_json_body_is_laid_out_and_nothing_but_white_space_changes(value: object, compact: bool) -> None:
    text = json.dumps(value, separators=(",", ":") if compact else None)
    lines = body_lines(text.encode())
    if len(lines) <= 100 and text.isprintable():
        assert json.loads("\n".join(lines)) == value
        assert lines == json.dumps(value, indent=2).split("\n")


def test_a_json_body_keeps_double_keys_and_the_digits_of_numbers() -> None:
    assert body_lines(b'{"a":1.10,"a":[ ],"b":{"c":[1e5]}}') == [
        "{",
        '  "a": 1.10,',
        '  "a": [],',
        '  "b": {',
        '    "c": [',
        "      1e5",
        "    ]",
        "  }",
        "}",
    ]


def test_a_long_or_deep_body_is_cut_and_says_so() -> None:
    assert body_lines(b"\xff" * 5000)[-1] == "… 3000 more bytes"
    assert body_lines(b"[" + b",".join([b"1"] * 1000) + b"]")[-1] == "… 902 more lines"
    assert len(body_lines(b"[" * 20_000 + b"]" * 20_000)) == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (0, "just now"), (59, "59 s ago"), (60, "1 min ago"), (7200, "2 h ago"), (90_000, "1 d ago")],
)
def test_ages_are_told_in_their_largest_unit(seconds: int, words: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


def test_short_ids_are_as_long_as_it_takes_to_tell_them_from_every_other() -> None:
    assert shortened(["aaaaaaaa-1"], ["aaaaaaaa-1", "bbbbbbbb-1"]) == {"aaaaaaaa-1": "aaaaaaaa"}
    assert shortened(["aaaaaaaa-11"], ["aaaaaaaa-11", "aaaaaaaa-12"]) == {"aaaaaaaa-11": "aaaaaaaa-11"}
    assert shortened([], []) == {}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("30m", NOW - timedelta(minutes=30)),
        ("3d", NOW - timedelta(days=3)),
        ("500ms", NOW - timedelta(milliseconds=500)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T08:30", datetime(2026, 2, 1, 8, 30, tzinfo=UTC)),
        ("2026-02-01T08:30:00Z", datetime(2026, 2, 1, 8, 30, tzinfo=UTC)),
        ("2026-02-01T08:30:00+02:00", datetime(2026, 2, 1, 8, 30, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_a_time_is_an_iso_time_or_a_duration_ago(text: str, time: datetime) -> None:
    assert read_time(text, now=NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2", "-1h", "99999999d", "2026-13-01", "0001-01-01T00:00+23:00"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write 2h"):
        read_time(text, now=NOW)


def hostile_letter() -> Any:
    event = HistoryEvent(at=NOW, event=HOSTILE, attempt=1, worker=HOSTILE, error_message=HOSTILE, delay=1.0)
    return a_letter(
        reason=HOSTILE,
        order_id=HOSTILE,
        trace_id=HOSTILE,
        error_type=HOSTILE,
        error_message=HOSTILE,
        error_chain=(HOSTILE,),
        fingerprint=HOSTILE,
        origin_exchange=HOSTILE,
        origin_routing_key=HOSTILE,
        headers={HOSTILE: HOSTILE, "list": [HOSTILE, {HOSTILE: b"\x1b"}], "bytes": b"\x1b\xff"},
        body=HOSTILE.encode("utf-8", "surrogatepass"),
        attempts=(event,),
        history=(LetterEvent(at=NOW, event=HOSTILE, by=HOSTILE, note=HOSTILE, replay_id=HOSTILE),),
    )


def hostile_view(letter: DeadLetterRecord) -> LetterView:
    version = LetterVersion(letter.id, 0, 1, NOW, by=HOSTILE, why=HOSTILE)
    story = ReplayStory(HOSTILE, NOW, HOSTILE, HOSTILE, 0, taken_by=HOSTILE)
    failed = replace(story, outcome=ReplayEnd.FAILED_AGAIN, ended_at=NOW, error=HOSTILE)
    return LetterView(replace(letter, version=1), None, [version], [story, failed], timeline(letter, None, [letter]))


def hostile_progress(options: ReplayOptions) -> ReplayProgress:
    selection = Selection(ids=(HOSTILE,), reason=HOSTILE, group=HOSTILE, order_id=HOSTILE, trace_id=HOSTILE)
    state = JobState.STOPPED
    job = ReplayJob("0badc0de", state, selection, options, HOSTILE, HOSTILE, NOW, NOW, total=1, because=HOSTILE)
    return ReplayProgress(
        replace(job, note=HOSTILE), ReplayTally({ItemState.FAILED_AGAIN: 1}), rate=0.0, all_sent_at=None, arrived=1
    )


def test_nothing_in_a_letter_moves_the_cursor_or_is_read_as_markup() -> None:
    letter = hostile_letter()
    group = DeadLetterGroup(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, NOW, NOW, letter.id)
    options = ReplayOptions(target=Origin(HOSTILE, HOSTILE))
    item = ReplayItem("0badc0de", letter.id, size=1, state=ItemState.FAILED_AGAIN, why=HOSTILE)
    ids = {letter.id: letter.id}
    shown = [
        rendered(lambda out: out.print(list_table([letter], ids, NOW, wide=True))),
        rendered(lambda out: out.print(groups_table([group], ids, NOW, wide=True))),
        rendered(lambda out: print_letter(out, hostile_view(letter), NOW)),
        rendered(lambda out: print_edit(out, Edit(a_letter(), letter, Origin("", ""), Origin(HOSTILE, HOSTILE)))),
        rendered(lambda out: print_plan(out, ReplayPlan([group], {}), options)),
        rendered(lambda out: print_progress(out, hostile_progress(options))),
        rendered(lambda out: print_list(out, [hostile_progress(options)])),
        rendered(lambda out: print_letters(out, [item])),
        rendered(lambda out: out.print(picture(hostile_progress(options)))),
    ]
    assert all(map(moves_nothing, shown))
    assert "[red]x[/red][/]" in shown[2]


def stopped_job(tally: ReplayTally, state: JobState = JobState.STOPPED) -> ReplayProgress:
    job = ReplayJob("0badc0de", state, Selection(), ReplayOptions(), "me", "to see", NOW, NOW, total=2)
    return ReplayProgress(job, tally, rate=0.0, all_sent_at=None, arrived=0)


def test_a_job_that_stopped_with_letters_left_says_how_to_go_on() -> None:
    tally = ReplayTally({ItemState.FAILED_AGAIN: 1, ItemState.WAITING: 1})
    words = " ".join(rendered(lambda out: print_progress(out, stopped_job(tally))).split())
    assert "When the cause is gone: logistics replay resume 0badc0de" in words
    assert "Nothing of it is left to send" not in words


def test_a_job_that_stopped_with_nothing_left_sends_nobody_to_resume_it() -> None:
    tally = ReplayTally({ItemState.FAILED_AGAIN: 2})
    words = " ".join(rendered(lambda out: print_progress(out, stopped_job(tally))).split())
    assert "replay resume" not in words
    assert "goes into a new job: logistics replay start ID --why …" in words
    assert "To end this one: logistics replay cancel 0badc0de" in words


def test_a_job_that_was_resumed_with_nothing_left_says_so() -> None:
    resumed = stopped_job(ReplayTally({ItemState.FAILED_AGAIN: 2}), JobState.CANARY)
    words = " ".join(rendered(lambda out: print_progress(out, resumed)).split())
    assert "Nothing of it is left to send" in words
    assert "This one ends by itself" in words


def test_json_is_ascii_without_control_characters_and_reads_back() -> None:
    letter = hostile_letter()
    text = json_text(whole_document(letter))
    assert text.isascii()
    assert text.isprintable()
    read = json.loads(text)
    assert read["order_id"] == HOSTILE
    assert read["headers"]["bytes"] == {"base64": "G/8="}
    assert read["body_text"] is None
    assert read["dead_lettered_at"] == "2026-03-01T12:00:00.000Z"


def test_header_values_that_json_has_no_room_for_become_text() -> None:
    assert json.loads(json_text({"nan": float("nan"), "inf": float("inf"), "odd": object})) == {
        "nan": "nan",
        "inf": "inf",
        "odd": "<class 'object'>",
    }


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=14) - timedelta(seconds=1), "expires in 14 days"),
        (timedelta(days=13, hours=6), "expires in 13 days"),
        (timedelta(days=2), "expires in 2 days"),
        (timedelta(hours=47), "expires in 47 hours"),
        (timedelta(minutes=119), "expires in 119 min"),
        (timedelta(seconds=59), "expires now"),
        (timedelta(seconds=-9), "expires now"),
    ],
)
def test_a_discarded_letter_says_in_how_long_it_goes(left: timedelta, text: str) -> None:
    assert expires(NOW + left, NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (0.25, "0.2 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (200_000, "2 d")],
)
def test_a_duration_is_told_in_its_largest_units(seconds: float, text: str) -> None:
    assert short_duration(timedelta(seconds=seconds)) == text
