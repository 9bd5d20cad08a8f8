"""Personal data, hidden: where an order goes, and the message that says so."""

from dataclasses import replace

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_view import LetterView
from worker.domain.order_story import OrderStory
from worker.domain.shipment import Shipment

HIDDEN = "•••"
"""Stands in the place of a text that is not shown."""


def masked_letter(letter: DeadLetterRecord) -> DeadLetterRecord:
    """Return the letter without its body."""
    return replace(letter, body=b"")


def masked_shipment(shipment: Shipment | None) -> Shipment | None:
    """Return the shipment without its destination."""
    return None if shipment is None else replace(shipment, destination=HIDDEN)


def masked_view(view: LetterView) -> LetterView:
    """Return the view without body and destination; how long each body was stays."""
    versions = [replace(version, body=b"") for version in view.versions]
    return replace(view, letter=masked_letter(view.letter), shipment=masked_shipment(view.shipment), versions=versions)


def masked_story(story: OrderStory) -> OrderStory:
    """Return the story without destination."""
    return replace(story, shipment=masked_shipment(story.shipment))
