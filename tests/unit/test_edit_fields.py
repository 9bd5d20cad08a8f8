"""The headers of a dead letter as lines to type in."""

import pytest

from infra.console.pages.edit_fields import as_lines, header_changes
from worker.domain.errors import EditRefusedError

BEFORE = {"x-tenant": "acme", "x-note": " a = b "}


def test_headers_that_nobody_has_touched_change_nothing() -> None:
    assert header_changes(BEFORE, "\n".join(as_lines(BEFORE))) == {}


def test_a_value_typed_over_sets_the_header_a_new_line_adds_one_and_a_line_taken_out_drops_it() -> None:
    assert header_changes(BEFORE, "x-tenant=globex\n\n x-new =1=1") == {
        "x-note": None,
        "x-tenant": "globex",
        "x-new": "1=1",
    }


@pytest.mark.parametrize("text", ["x-tenant", "=acme", "x-tenant=a\nnonsense"])
def test_a_line_that_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(EditRefusedError, match="write a header as name=value"):
        header_changes(BEFORE, text)


def test_a_header_typed_twice_is_refused() -> None:
    with pytest.raises(EditRefusedError, match="'x-tenant' is there twice"):
        header_changes(BEFORE, "x-tenant=a\nx-tenant=b")
