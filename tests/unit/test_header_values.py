"""A publisher's header values come out of the worker as they went in."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pamqp import decode, encode

from infra.rabbitmq.headers import fitting_headers

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def there_and_back(value: object) -> object:
    _, headers = decode.field_table(encode.field_table(fitting_headers({"x": value})))
    return headers["x"]


@pytest.mark.parametrize("number", [0.1, 1e300, -5e-324, math.inf, 1.5])
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


@pytest.mark.parametrize("value", [None, True, 7, -(2**40), "text", [1, {"a": "b"}], Decimal("1.25")])
def test_what_the_client_writes_well_is_left_to_it(value: object) -> None:
    assert there_and_back(value) == value


def test_what_cannot_be_written_still_cannot() -> None:
    assert fitting_headers({"a": object(), "b": 1}) == {"b": 1}


@pytest.mark.parametrize(("depth", "fits"), [(100, True), (101, False), (400, False)])
def test_tables_that_might_not_be_written_further_down_the_stack_are_left_out(depth: int, fits: bool) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert ("deep" in fitting_headers({"deep": value, "b": 1})) is fits
