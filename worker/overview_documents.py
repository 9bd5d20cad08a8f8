"""An overview as JSON for programs."""

from dataclasses import asdict
from typing import Any

from worker.feed import LivePicture
from worker.overview_picture import Overview
from worker.overview_words import oldest_in_words, problems


def overview_document(overview: Overview) -> dict[str, Any]:
    """Return an overview for programs, what is wrong first."""
    document = {"problems": problems(overview), **asdict(overview)}
    document["oldest_waiting"]["in_words"] = oldest_in_words(overview.oldest_waiting)
    return document


def picture_document(picture: LivePicture) -> dict[str, Any]:
    """Return a feed's picture for programs."""
    return {
        **overview_document(picture.overview),
        "number": picture.number,
        "rates": picture.rates,
        "last_known": picture.last_known,
    }
