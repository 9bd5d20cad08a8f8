"""A publisher's header values come out of the worker as they went in."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from infra.rabbitmq.header_values import ExactMessage, encoded_table
from infra.rabbitmq.headers import fitting_headers

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def sent_and_read(headers: dict[str, object], *, timestamp: datetime | None = None) -> Basic.Properties:
    message = ExactMessage(b"", headers=fitting_headers(headers), message_id="m-1", timestamp=timestamp)
    read = ContentHeader(properties=Basic.Properties())
    read.unmarshal(ContentHeader(properties=message.properties).marshal())
    assert read.properties.message_id == "m-1"
    return read.properties


def there_and_back(value: object) -> object:
    headers: Any = sent_and_read({"x": value}).headers
    return headers["x"]


@pytest.mark.parametrize("number", [0.1, 1e300, -5e-324, -0.0, 1.5])
def test_a_number_with_a_fraction_keeps_every_digit(number: float) -> None:
    """Found by fuzzing: the client read doubles and wrote singles, and dropped what is too large for one."""
    assert there_and_back([{"deep": number}]) == [{"deep": number}]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        NEW_YEAR,
        NEW_YEAR + timedelta(milliseconds=123),
        datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_a_time_is_the_same_time_afterwards(moment: datetime) -> None:
    """Seen beside a finding of fuzzing: milliseconds were lost, and what lies past 2106 came back as the seventies."""
    assert there_and_back(moment) == moment
    assert sent_and_read({}, timestamp=moment).timestamp == moment


@pytest.mark.parametrize("value", [None, True, 7, -(2**40), "text", [1, {"a": "b"}], Decimal("1.25")])
def test_what_the_client_writes_well_is_left_to_it(value: object) -> None:
    assert there_and_back(value) == value


def test_bytes_stay_bytes() -> None:
    assert there_and_back(b"\xff\x00") == b"\xff\x00"


def test_a_long_name_is_not_cut_short() -> None:
    """The client cuts names after 128 bytes: two that differ further on would have become one."""
    headers: dict[str, object] = {"n" * 254 + "1": 1, "n" * 254 + "2": 2}
    assert sent_and_read(headers).headers == headers


@pytest.mark.parametrize(
    "left_out",
    [
        *({"a": object()}, {"n" * 256: 1}, {"a": 2**64}, {"a": {1: 2}}, {"a": "\ud800"}),
        *({"a": math.inf}, {"a": [math.nan]}),  # on which RabbitMQ closes the connection
    ],
)
def test_what_amqp_or_rabbitmq_has_no_room_for_is_left_out(left_out: dict[str, object]) -> None:
    assert fitting_headers({**left_out, "b": 1}) == {"b": 1}


@pytest.mark.parametrize(
    "theirs", [{f"x-{number}": "." * 120 for number in range(1000)}, dict.fromkeys(map(str, range(20_000)))]
)
def test_thousands_of_small_headers_leave_room_for_ours(theirs: dict[str, object]) -> None:
    ours: dict[str, object] = {"trace_id": "t" * 128, "attempt": 1, "published_at": 1_772_366_400_123}
    sent = fitting_headers({**theirs, **ours})
    assert {name: sent.get(name) for name in ours} == ours
    assert 114_500 < len(encoded_table(sent)) <= 115_004


def test_one_header_that_cannot_be_sent_costs_no_other() -> None:
    theirs = {f"{number:05}": number for number in range(9000)}
    assert fitting_headers({**theirs, "bad": math.nan}) == theirs


@pytest.mark.parametrize(("depth", "fits"), [(100, True), (101, False), (400, False)])
def test_tables_that_might_not_be_written_further_down_the_stack_are_left_out(depth: int, fits: bool) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert ("deep" in fitting_headers({"deep": value, "b": 1})) is fits
