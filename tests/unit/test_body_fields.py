"""Setting single fields of a JSON body."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.body_fields import field_value, with_fields
from worker.domain.body_text import difference
from worker.domain.errors import EditRefusedError


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ('"7"', "7"), ("Oslo", "Oslo"), ("null", None), ("[1]", [1]), ("", ""), ("NaN", "NaN"), ("{", "{")],
)
def test_a_value_is_json_where_it_is_json_and_text_where_it_is_not(text: str, value: Any) -> None:
    assert field_value(text) == value


def test_a_field_is_set_and_everything_else_stays() -> None:
    body = '{"order_id": "A", "price": 1.10, "big": 12345678901234567890.5, "town": "Zürich"}'.encode()
    changed = with_fields(body, {"destination": "Oslo"})
    assert changed == body[:-1] + b', "destination": "Oslo"}'


def test_a_dotted_path_names_a_field_within_fields_and_makes_them_where_they_are_not() -> None:
    changed = with_fields(b'{"address": {"city": "Oslo", "zip": 1}}', {"address.city": "Bergen", "a.b.c": [1]})
    assert json.loads(changed) == {"address": {"city": "Bergen", "zip": 1}, "a": {"b": {"c": [1]}}}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'"text"', b"\xff{}", b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "a": 2}}']
)
def test_a_body_that_is_no_plain_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(EditRefusedError, match="no field can be set"):
        with_fields(body, {"a": 1})


def test_a_path_through_something_that_is_no_object_is_refused() -> None:
    with pytest.raises(EditRefusedError, match="'a' is no object"):
        with_fields(b'{"a": 1}', {"a.b": 2})


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(document=st.dictionaries(st.text(), _json, max_size=4), escaped=st.booleans())
def test_setting_nothing_changes_nothing_but_layout(document: dict[str, Any], escaped: bool) -> None:
    body = json.dumps(document, ensure_ascii=escaped).encode("utf-8")
    assert json.loads(with_fields(body, {})) == document


def test_half_a_character_stays_an_escape() -> None:
    assert json.loads(with_fields(b'{"a": "\\ud800"}', {"b": 1})) == {"a": "\ud800", "b": 1}


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_two_bodies_can_be_compared(before: bytes, after: bytes) -> None:
    assert isinstance(difference(before, after), list)
    assert difference(before, before) == []
