"""What makes two failures the same failure."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.supplier.breaker import CircuitBreaker
from infra.supplier.client import HttpSupplier
from worker.domain.durations import parse_duration
from worker.domain.errors import SupplierRejectedError
from worker.domain.fingerprint import error_chain, fingerprint, top_frame
from worker.domain.order import parse_order
from worker.domain.shipment import Shipment


def raised_by(function: object, *arguments: object) -> BaseException:
    assert callable(function)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is
        function(*arguments)
    return caught.value


def test_the_frame_is_the_deepest_of_our_own_code() -> None:
    # json's own frames lie deeper
    assert top_frame(raised_by(parse_order, b"{")) == "worker/domain/json_body.py:read_object"
    assert top_frame(raised_by(parse_duration, "x")) == "worker/domain/durations.py:parse_duration"


def test_a_frame_of_somebody_else_s_is_none() -> None:
    assert top_frame(raised_by(int, "x")) == ""
    assert top_frame(ValueError("never raised")) == ""


def test_the_method_and_not_the_line_is_named() -> None:
    circuit = CircuitBreaker(failure_threshold=3, recovery_timeout=1.0)
    supplier = HttpSupplier("http://127.0.0.1:1", circuit=circuit, timeout=1.0, connections=1)
    shipment = Shipment.for_order("o-1", "Oslo", trace_id="t-1", now=datetime.now(UTC))
    error = raised_by(supplier._judge, shipment, 422, None, b"no")
    assert top_frame(error) == "infra/supplier/client.py:_judge"


def test_a_group_is_twelve_digits_made_of_type_frame_and_reason() -> None:
    one = fingerprint(error_type="OSError", frame="worker/x.py:f", reason="expired")
    assert one == fingerprint(error_type="OSError", frame="worker/x.py:f", reason="expired")
    assert len(one) == 12
    assert int(one, 16) >= 0
    others = [("ValueError", "worker/x.py:f", "expired"), ("OSError", "worker/x.py:g", "expired"), ("OSError", "", "")]
    assert len({one, *(fingerprint(error_type=t, frame=f, reason=r) for t, f, r in others)}) == 4


@given(st.text(st.characters()), st.text(st.characters()), st.text(st.characters()))
def test_every_text_has_a_group(error_type: str, frame: str, reason: str) -> None:
    assert len(fingerprint(error_type=error_type, frame=frame, reason=reason)) == 12


def test_the_chain_says_what_caused_what_outermost_first() -> None:
    def fail() -> None:
        try:
            try:
                int("deep")
            except ValueError:
                raise OSError("reset")  # noqa: B904 - the context is what this is about
        except OSError as error:
            raise SupplierRejectedError("no") from error

    chain = error_chain(raised_by(fail))
    assert chain[:2] == ["SupplierRejectedError: no", "OSError: reset"]
    assert chain[2].startswith("ValueError: invalid literal")


def test_a_cause_that_was_hidden_on_purpose_stays_hidden() -> None:
    def fail() -> None:
        try:
            int("secret")
        except ValueError:
            raise KeyError("clear") from None

    assert error_chain(raised_by(fail)) == ["KeyError: 'clear'"]


def test_a_chain_is_bounded_even_when_it_bites_its_tail() -> None:
    one, two = ValueError("x" * 1000), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    chain = error_chain(one)
    assert len(chain) == 5
    assert max(len(line) for line in chain) == 300


def test_a_chain_can_be_sent_whatever_an_error_says() -> None:
    """Found by fuzzing: half a surrogate pair in an error's words cost the dead letter its whole chain."""
    error = SupplierRejectedError("\ud800 and \x00")
    error.__cause__ = TimeoutError()
    assert error_chain(error) == ["SupplierRejectedError: ? and \N{REPLACEMENT CHARACTER}", "TimeoutError"]
