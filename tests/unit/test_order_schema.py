"""The published schema and the worker's parser say the same about every document, but for what no schema can say."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.ecma_schema import validator
from worker.domain.errors import MalformedOrderError
from worker.domain.order import DEFAULT_MAX_BODY_BYTES, Order, parse_order
from worker.order_schema import order_schema

SCHEMA = order_schema()

# Characters on both sides of every border the pattern draws.
ODD = st.text(alphabet="\t\n\x1f \x7f\x80\x9f\xa0a\u2028\u3000\ud7ff\U0001f600", max_size=4)
TEXT = st.one_of(st.text(max_size=5), ODD, st.integers(0, 3).map(lambda more: "a" * (198 + more)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
LONG = st.integers(0, 3).map(lambda more: "b" * (998 + more))
DOCUMENTS = st.one_of(
    JSON,
    st.fixed_dictionaries({}, optional={"order_id": TEXT | JSON, "destination": TEXT | LONG | JSON, "more": JSON}),
    st.fixed_dictionaries({"order_id": TEXT, "destination": TEXT | LONG}, optional={"Order_id": JSON, "": JSON}),
)


VALIDATOR = validator(SCHEMA)


def parser_accepts(body: str | bytes) -> bool:
    try:
        parse_order(body if isinstance(body, bytes) else body.encode())
    except MalformedOrderError:
        return False
    return True


def schema_accepts(body: str) -> bool:
    return bool(VALIDATOR.is_valid(json.loads(body)))


@given(DOCUMENTS, st.booleans())
@example({"order_id": "a\n", "destination": "b"}, True)
@example({"order_id": " ", "destination": "b"}, True)
@example({"order_id": "a" * 200, "destination": "b" * 1000}, True)
@example({"order_id": "\U0001f600" * 200, "destination": "\U0001f600" * 1000}, False)
@example({"order_id": 1, "destination": True}, True)
def test_schema_and_parser_agree_about_every_document(document: Any, ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only)
    assert schema_accepts(body) == parser_accepts(body)


def test_both_accept_a_good_order_and_refuse_one_without_a_field() -> None:
    good = {"order_id": "A-1", "destination": "Oslo"}
    assert schema_accepts(json.dumps(good))
    assert parser_accepts(json.dumps(good))
    for name in good:
        without = json.dumps({other: text for other, text in good.items() if other != name})
        assert not schema_accepts(without)
        assert not parser_accepts(without)


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("a key twice: which of the two would count?", '{"order_id": "1", "order_id": "2", "destination": "Oslo"}'),
        ("a key twice, deeper down", '{"order_id": "1", "destination": "Oslo", "more": {"a": 1, "a": 2}}'),
        ("NaN, which some JSON libraries write", '{"order_id": "1", "destination": "Oslo", "weight": NaN}'),
        ("half a surrogate pair", '{"order_id": "\\ud83d", "destination": "Oslo"}'),
        ("longer than allowed", json.dumps({"order_id": "1", "destination": "O", "x": "x" * DEFAULT_MAX_BODY_BYTES})),
    ],
)
def test_the_parser_is_stricter_where_no_schema_can_be(why: str, body: str) -> None:
    assert schema_accepts(body), why
    assert not parser_accepts(body), why


@pytest.mark.parametrize(
    ("why", "number_or_nesting"),
    [("an integer nobody means", "9" * 5000), ("nesting nobody means", "[" * 100_000 + "]" * 100_000)],
)
def test_the_parser_refuses_what_python_cannot_even_read(why: str, number_or_nesting: str) -> None:
    assert not parser_accepts(f'{{"order_id": "1", "destination": "Oslo", "x": {number_or_nesting}}}'), why


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_the_parser_takes_plain_utf_8_only(encoding: str) -> None:
    assert not parser_accepts('{"order_id": "1", "destination": "Ørsta"}'.encode(encoding))


def test_the_schema_is_valid_and_names_its_dialect() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "Order"
    assert SCHEMA["additionalProperties"] is True
    assert "$id" not in SCHEMA


def test_the_examples_are_orders_and_every_field_of_the_model_is_described() -> None:
    assert len(SCHEMA["examples"]) >= 2
    assert all(schema_accepts(json.dumps(order)) and parser_accepts(json.dumps(order)) for order in SCHEMA["examples"])
    assert SCHEMA["properties"].keys() == Order.model_fields.keys()
    assert all(field["description"] for field in SCHEMA["properties"].values())
