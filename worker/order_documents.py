"""An order's story as JSON for programs."""

from typing import Any

from worker.domain.order_story import OrderStory
from worker.letter_documents import letter_document, shipment_document


def story_document(story: OrderStory) -> dict[str, Any]:
    """Return everything that is known of an order; its dead letters without their bodies."""
    shipment = story.shipment
    whole = None
    if shipment is not None:
        more = ("destination", "published_at", "created_at", "updated_at", "delivered_at")
        whole = {**(shipment_document(shipment) or {}), **{name: getattr(shipment, name) for name in more}}
    return {
        "order_id": story.order_id,
        "trace_id": story.trace_id,
        "shipment": whole,
        "dead_letters": [letter_document(letter) for letter in story.letters],
        "timeline": story.timeline,
    }
