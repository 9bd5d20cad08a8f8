"""What a body must be to be an order, and what is said of one that is not."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import arbitrary_bodies, valid_bodies
from worker.domain.delivery_notice import parse_notice
from worker.domain.errors import MalformedMessageError, MalformedOrderError
from worker.domain.order import Order, parse_order, readable_order_id

MARK = "Zq7Xw"
"""Something no sentence of ours contains."""


def judged(body: bytes) -> Order | MalformedOrderError:
    try:
        return parse_order(body)
    except MalformedOrderError as error:
        return error


@given(arbitrary_bodies)
def test_a_body_is_an_order_or_malformed_and_nothing_else_happens(body: bytes) -> None:
    verdict = judged(body)
    assert readable_order_id(body) == verdict.order_id
    if isinstance(verdict, Order):
        document = json.loads(body)
        assert (verdict.order_id, verdict.destination) == (document["order_id"], document["destination"])
    else:
        assert str(verdict)


@given(valid_bodies)
def test_every_order_that_keeps_the_rules_is_taken(body: bytes) -> None:
    assert isinstance(parse_order(body), Order)


_marked = st.recursive(
    st.sampled_from([MARK, f"{MARK}\x00", f"\ud800{MARK}", f"{MARK}\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just(MARK), inner, max_size=1),
    max_leaves=4,
)
_fields = st.fixed_dictionaries({}, optional={"order_id": _marked, "destination": _marked, MARK: _marked})


@given(_fields | _marked, st.sampled_from(["", "}", f",{MARK}", f"\\{MARK}", "\ufeff"]), st.booleans())
def test_a_complaint_never_repeats_what_is_in_the_body(document: object, garbage: str, before: bool) -> None:
    text = json.dumps(document)
    body = (garbage + text if before else text + garbage).encode()
    verdict = judged(body)
    if isinstance(verdict, MalformedOrderError):
        assert MARK not in str(verdict)
        assert str(verdict).isprintable()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b"{} {}", "not JSON"),
        (b'{"order_id": "A-1", "order_id": "A-2", "destination": "Oslo"}', "twice"),
        (b'{"order_id": "A-1", "destination": "Oslo", "x": {"y": 1, "y": 2}}', "twice"),
        (b'{"order_id": "A-1", "destination": "Oslo", "x": NaN}', "NaN"),
        (b'{"order_id": "A-1", "destination": "Oslo", "x": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "too deeply"),
        (b'{"a":' * 100_000, "too deeply"),
        (b"{}", "order_id: Field required; destination: Field required"),
        (b'{"order_id": 7, "destination": "Oslo"}', "order_id: Input should be a valid string"),
        (b'{"order_id": null, "destination": "Oslo"}', "order_id"),
        (b'{"order_id": "", "destination": "Oslo"}', "order_id"),
        (b'{"order_id": "  ", "destination": "Oslo"}', "order_id"),
        (b'{"order_id": "A\\u0000", "destination": "Oslo"}', "order_id"),
        (b'{"order_id": "A\\n1", "destination": "Oslo"}', "order_id"),
        (b'{"order_id": "A-1\\n", "destination": "Oslo"}', "order_id"),
        (b'{"order_id": "\\ud800", "destination": "Oslo"}', "order_id"),
        (b'{"order_id": "A-1", "destination": "\\u0085"}', "destination"),
        (json.dumps({"order_id": "A" * 201, "destination": "Oslo"}).encode(), "order_id"),
        (json.dumps({"order_id": "A", "destination": "O" * 1001}).encode(), "destination"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, says: str) -> None:
    with pytest.raises(MalformedOrderError, match=re.escape(says)):
        parse_order(body)


def test_unknown_fields_are_welcome() -> None:
    more = '"lines": [{"sku": "x"}], "\\ud800": "\\ud800", "": 1e400'
    order = parse_order(f'{{"order_id": "A-1", "destination": "Øster Allé 1", {more}}}'.encode())
    assert order == Order(order_id="A-1", destination="Øster Allé 1")


def test_a_body_over_the_limit_is_refused_unread() -> None:
    body = b'{"order_id": "A-1", "destination": "Oslo"}'
    assert parse_order(body, max_bytes=len(body)).order_id == "A-1"
    with pytest.raises(MalformedOrderError, match="at most 41"):
        parse_order(body, max_bytes=len(body) - 1)
    assert readable_order_id(body, max_bytes=10) is None


class _Untouchable(bytes):
    """A body that may be measured and nothing else."""

    def decode(self, *_: object, **__: object) -> str:
        raise AssertionError("it was read")


@pytest.mark.parametrize("parse", [parse_order, parse_notice])
def test_the_size_is_looked_at_before_a_byte_is_decoded(parse: Callable[..., object]) -> None:
    with pytest.raises(MalformedMessageError, match="has 11 bytes; at most 10 are accepted"):
        parse(_Untouchable(b"\xff" * 11), max_bytes=10)
    with pytest.raises(AssertionError, match="it was read"):
        parse(_Untouchable(b"\xff" * 10), max_bytes=10)


@pytest.mark.parametrize(
    ("body", "order_id"),
    [
        (b'{"order_id": "A-1", "destination": ""}', "A-1"),
        (b'{"order_id": "A-1"}', "A-1"),
        (b'{"order_id": " ", "destination": "Oslo"}', None),
        (b'{"order_id": ["A-1"], "destination": "Oslo"}', None),
        (b'{"destination": "Oslo"}', None),
        (b'"A-1"', None),
        (b"\xff", None),
    ],
)
def test_the_order_id_is_told_where_it_can_be_read(body: bytes, order_id: str | None) -> None:
    assert readable_order_id(body) == order_id


def test_an_order_cannot_be_changed() -> None:
    order = parse_order(b'{"order_id": "A-1", "destination": "Oslo"}')
    with pytest.raises(ValueError, match="frozen"):
        order.order_id = "A-2"
