"""The notice's schema and the worker's parser say the same about every document, but for what no schema can say."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.ecma_schema import validator
from worker.domain.delivery_notice import DeliveryNotice, parse_notice
from worker.domain.errors import MalformedNoticeError
from worker.domain.shipment import shipment_id_for
from worker.notice_schema import notice_schema

SCHEMA = notice_schema()
VALIDATOR = validator(SCHEMA)
SHIPMENT = shipment_id_for("A-1")
GOOD = {"order_id": "A-1", "delivered_at": "2026-03-01T12:00:00Z"}

ODD = st.text(alphabet="\t\n \x7f\xa0a-:TZ+0123456789", max_size=6)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ODD
TIMES = st.one_of(
    SCALARS,
    st.integers(946_684_800_000 - 2, 946_684_800_000 + 2),
    st.integers(253_402_300_799_000 - 2, 253_402_300_799_000 + 2),
    st.datetimes().map(lambda at: at.isoformat()),
    st.sampled_from(
        [
            "2026-03-01 12:00",
            "2026-03-01t12:00:00.5z",
            "2026-03-01T12:00+01",
            "2026-03-01T12:00:00,123+0100",
            "2026-03-01",
        ]
    ),
)
NAMES = st.one_of(SCALARS, st.sampled_from([SHIPMENT, SHIPMENT.upper(), SHIPMENT + "\n", "A-1", "a" * 200, "a" * 201]))
DOCUMENTS = st.fixed_dictionaries(
    {}, optional={"order_id": NAMES, "shipment_id": NAMES, "delivered_at": TIMES, "x": NAMES}
)


def parser_says(document: Any) -> str | None:
    """What the parser finds wrong."""
    try:
        parse_notice(json.dumps(document).encode())
    except MalformedNoticeError as error:
        return str(error)
    return None


def is_beyond_a_schema(document: dict[str, Any], words: str | None) -> bool:
    """Whether parser and schema may disagree: two names that differ, a moment that is none, 1e12 for a whole number."""
    time = document.get("delivered_at")
    no_moment = isinstance(time, str) and words is not None and words.startswith("delivered_at")
    return no_moment or isinstance(time, float) or "is not the shipment of order_id" in (words or "")


@given(DOCUMENTS)
@example(GOOD)
@example({**GOOD, "order_id": None})
@example({**GOOD, "shipment_id": None})
@example({"shipment_id": SHIPMENT.upper(), "delivered_at": 946_684_800_000})
@example({"shipment_id": SHIPMENT, "delivered_at": 946_684_799_999})
@example({"delivered_at": "2026-03-01T12:00:00Z"})
def test_schema_and_parser_agree_about_every_document(document: dict[str, Any]) -> None:
    words = parser_says(document)
    if not is_beyond_a_schema(document, words):
        assert VALIDATOR.is_valid(document) == (words is None), words


@pytest.mark.parametrize(
    "document",
    [
        {**GOOD, "shipment_id": "4bf92f35-77b3-5da6-83ce-929d0e0e4736"},
        {**GOOD, "delivered_at": "2026-02-30T12:00:00Z"},
        {**GOOD, "delivered_at": "1999-12-31T23:59:59Z"},
    ],
)
def test_the_parser_is_stricter_where_no_schema_can_be(document: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(document)
    assert parser_says(document) is not None


def test_its_examples_are_notices_and_every_field_of_the_model_is_described() -> None:
    assert all(VALIDATOR.is_valid(one) and parser_says(one) is None for one in SCHEMA["examples"])
    assert SCHEMA["properties"].keys() == DeliveryNotice.model_fields.keys()
    assert all(field["description"] for field in SCHEMA["properties"].values())
    assert re.search("year 2000", SCHEMA["description"])
