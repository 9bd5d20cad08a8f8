"""What happened to an order or a dead letter, as a line through time."""

from collections.abc import Sequence

from infra.console.pages.kit import Tag, link, when
from infra.console.pages.text import span
from infra.console.pages.words import BAD, CALM, GOOD, WARN, named, words
from worker.domain.dead_letter import LetterEvent
from worker.domain.letter_story import TimelineEntry
from worker.domain.shipment import HistoryEvent

_LOOK = {
    "shipped": GOOD,
    "delivered": GOOD,
    "resolved": GOOD,
    "attempt_failed": WARN,
    "deferred": WARN,
    "failed": BAD,
    "filed": BAD,
    "failed_again": BAD,
    "not_sent": BAD,
}
_WORDS = {
    "received": "Received by a worker",
    "attempt_failed": "Try failed",
    "filed": "Dead letter",
    "failed_again": "Dead letter again",
    "tried_again": "Tried again",
    "taken": "Copy taken by a worker",
}


def story(entries: Sequence[TimelineEntry]) -> None:
    """Show what happened, the oldest first."""
    with Tag("ol", classes="story"):
        for entry in entries:
            event = entry.event
            with Tag("li", classes=_LOOK.get(event.event, CALM)):
                with Tag("span", classes="at"):
                    when(event.at)
                with Tag("div", classes="what"):
                    Tag("strong", _WORDS.get(event.event, words(event.event).capitalize()))
                    _shipment_event(event) if isinstance(event, HistoryEvent) else _letter_event(entry.of, event)


def _shipment_event(event: HistoryEvent) -> None:
    parts = []
    if event.attempt is not None:
        parts.append(f"attempt {event.attempt}")
    if event.worker is not None:
        parts.append(f"worker {event.worker}")
    if event.delay is not None:
        parts.append(f"next try in {span(event.delay)}")
    _line(parts)
    if event.error_message or event.error_type:
        Tag("div", event.error_message or event.error_type, "small break")


def _letter_event(of: str, event: LetterEvent) -> None:
    _line([f"by {event.by}"] if event.by else [])
    letter_id = of.removeprefix("dead letter ")
    if letter_id != of:
        link("open it", f"/dead-letters/{letter_id}", "small gap")
    if event.job_id is not None:
        link(f"replay job {event.job_id}", f"/replays/{event.job_id}", "small gap")
    if event.note:
        Tag("div", named(event.note), "small break")


def _line(parts: Sequence[str]) -> None:
    if parts:
        Tag("span", " · ".join(parts), "soft small gap")
