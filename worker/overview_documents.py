"""An overview as JSON for programs."""

from dataclasses import asdict
from typing import Any

from worker.feed import LivePicture
from worker.overview_picture import Overview
from worker.overview_problems import problems
from worker.overview_words import oldest_in_words
from worker.problem import sentences


def overview_document(overview: Overview) -> dict[str, Any]:
    """Return an overview for programs, what is wrong first."""
    now = overview.taken_at
    document = {"problems": sentences(problems(overview), now=now), **asdict(overview)}
    document["unreachable"] = {server: why.sentence(now=now) for server, why in overview.unreachable.items()}
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
