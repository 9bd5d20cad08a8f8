"""A person's desk: every action asks who it is and what they may, at that moment; a reader sees no personal data."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.console.access.roles import Person, Role
from infra.console.access.visitor import Visitor, Way
from infra.console.desk.desk import Desk
from infra.console.desk.expected import refuse_unless
from infra.console.desk.masks import HIDDEN, masked_story, masked_view
from infra.console.desk.part import Part, role_of
from infra.console.errors import ChangedMeanwhileError, NotAllowedError, NotSignedInError
from tests.support.letters import NOW, a_letter
from worker.documents import json_text
from worker.domain.letter_version import current_version
from worker.domain.letter_view import LetterView
from worker.domain.order_story import OrderStory
from worker.domain.shipment import Shipment
from worker.letter_documents import view_document
from worker.order_documents import story_document


class Nothing:
    """A house in which there is nothing: whoever gets as far as to use something of it fails."""

    settings = services = overview = feed = None


def desk_of(person: Callable[[], Person]) -> Desk:
    return Desk(Visitor(Way.SESSION, person), Nothing())  # type: ignore[arg-type]


def methods(desk: Desk) -> Iterator[Callable[..., Any]]:
    """Yield every method of every part."""
    parts = [part for part in vars(desk).values() if isinstance(part, Part)]
    assert len(parts) >= 7
    for part in parts:
        names = [name for name, _ in inspect.getmembers(type(part), inspect.isfunction) if not name.startswith("_")]
        assert names, part
        yield from (getattr(part, name) for name in names)


def test_every_action_asks_for_a_role_before_it_does_anything() -> None:
    for role in Role:
        for method in methods(desk_of(lambda role=role: Person("anna", role))):  # type: ignore[misc]
            least = role_of(method)
            if role.covers(least):
                with pytest.raises((TypeError, AttributeError)):  # it went on, without what it needs
                    run(method())
            else:
                with pytest.raises(NotAllowedError, match=f"this needs the role {least}"):
                    method()


def run(coroutine: Any) -> None:
    """Go as far as a coroutine gets without waiting for anything."""
    coroutine.send(None)


def test_a_page_that_stays_open_longer_than_its_sign_in_does_nothing_more() -> None:
    def ended() -> Person:
        raise NotSignedInError("your sign-in has ended")

    for method in methods(desk_of(ended)):
        with pytest.raises(NotSignedInError):
            method()


def test_another_role_counts_from_the_next_action_on() -> None:
    roles = iter([Role.ADMIN, Role.READER, Role.READER])
    desk = desk_of(lambda: Person("anna", next(roles)))
    assert [desk.letters.is_masked, desk.letters.is_masked] == [False, True]
    with pytest.raises(NotAllowedError):
        run(desk.workers.pause(None, why="a test"))


@given(st.text(alphabet="abcdefghij", min_size=12, max_size=20))
def test_no_document_for_a_reader_holds_the_destination(place: str) -> None:
    letter = a_letter(body=f'{{"order_id": "A-1", "destination": "{place}"}}'.encode(), order_id="A-1")
    shipment = Shipment.for_order("A-1", place, trace_id="t", now=NOW)
    view = LetterView(letter, shipment, [current_version(letter)], [], [])
    story = OrderStory("A-1", shipment, [letter], [])
    assert place in json_text(view_document(view))
    assert place in json_text(story_document(story))
    assert place not in repr(masked_view(view))
    assert place not in json_text(view_document(masked_view(view)))
    assert place not in json_text(story_document(masked_story(story)))
    assert masked_story(story).shipment is not None
    assert masked_story(story).shipment.destination == HIDDEN  # type: ignore[union-attr]
    assert shipment.destination == place  # the one that others may see is as it was


def test_what_was_shown_is_what_is_done_or_nothing_is() -> None:
    refuse_unless(None, 5)
    refuse_unless(5, 5)
    with pytest.raises(ChangedMeanwhileError, match="4 dead letters were expected, and now 5 match"):
        refuse_unless(4, 5)
