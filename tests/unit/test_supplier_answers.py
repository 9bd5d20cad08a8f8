"""What the client reads out of a supplier's answer, however odd it is."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.supplier.client import _printable, _refusal, parse_retry_after

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_pieces = [
    "Mon,",
    "01",
    "Jan",
    "2026",
    "12:00:00",
    "GMT",
    "+0000",
    "-9999",
    "99999999999999999999",
    "²",
    "0x1",
    "-",
    ":",
]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("9" * 50, 9_999_999_999.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sun, 01 Mar 2026 13:00:05 +0100", 5.0),
        ("Sunday, 01-Mar-26 12:00:10 GMT", 10.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2026 12:00:00 +99999999999999", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_or_nothing(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.integers(0, 10**8))
def test_a_date_is_read_back_as_the_seconds_until_then(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(date, now=NOW) == seconds


@given(st.text() | st.lists(st.sampled_from(_pieces)).map(" ".join))
def test_no_retry_after_does_more_than_make_no_sense(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0


@given(
    st.binary() | st.text(st.characters()).map(lambda text: json.dumps({"accepted": False, "reason": text}).encode())
)
def test_the_supplier_s_words_fit_a_log_line_a_header_and_a_document(answer: bytes) -> None:
    for words in map(_printable, (answer.decode("utf-8", "replace"), _refusal(answer) or "")):
        assert words.isprintable()
        assert len(words.encode()) <= 1200


@pytest.mark.parametrize(
    "answer", [b"", b"{", b"[]", b"null", b'{"accepted": true}', b'{"accepted": 0}', b"{}", b"[" * 100_000]
)
def test_only_a_plain_false_turns_a_2xx_into_a_no(answer: bytes) -> None:
    assert _refusal(answer) is None


def test_a_no_comes_with_its_reason() -> None:
    assert _refusal(b'{"accepted": false, "reason": "unknown\\naddress"}') == "unknown\naddress"
    assert _refusal(b'{"accepted": false}') == "no reason given"
