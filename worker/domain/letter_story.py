"""A dead letter's story: its replays and what became of each, and one timeline from publish to now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from worker.domain.dead_letter import DeadLetterRecord, LetterEvent
from worker.domain.shipment import HistoryEvent, Shipment


class ReplayEnd(StrEnum):
    """What became of a replay's copy."""

    ON_ITS_WAY = "on_its_way"
    RESOLVED = "resolved"
    FAILED_AGAIN = "failed_again"
    NOT_SENT = "not_sent"
    """The broker refused it."""
    ABANDONED = "abandoned"
    """Nobody knows whether it went out; the letter was opened again."""
    GIVEN_UP = "given_up"
    """An operator gave it up, overdue."""


OTHER = "other dead letter"
"""What a timeline's line is of that tells of another dead letter of the same order."""
_ENDS = {"not_sent": ReplayEnd.NOT_SENT, "abandoned": ReplayEnd.ABANDONED, "given_up": ReplayEnd.GIVEN_UP}


@dataclass(frozen=True, slots=True)
class ReplayStory:
    """One replay of a letter."""

    replay_id: str
    at: datetime
    by: str | None
    job_id: str | None
    version: int
    """Which body went out."""
    outcome: ReplayEnd = ReplayEnd.ON_ITS_WAY
    ended_at: datetime | None = None
    taken_by: str | None = None
    """The worker that took the copy (first)."""
    taken_at: datetime | None = None
    error: str | None = None
    """What it failed with: the error where it is the letter's last, else the reason."""


def replays_of(letter: DeadLetterRecord) -> tuple[ReplayStory, ...]:
    """Return the replays that the letter's history tells of, oldest first."""
    stories: list[ReplayStory] = []
    version = letter.version - sum(event.event == "edited" for event in letter.history)
    for event in letter.history:
        version += event.event == "edited"
        if event.event == "replayed" and event.replay_id is not None:
            stories.append(ReplayStory(event.replay_id, event.at, event.by, event.job_id, max(version, 0)))
            continue
        place = _concerned(stories, event)
        if place is not None:
            stories[place] = _after(stories[place], event)
    return tuple(_with_last_error(letter, stories))


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of an order's timeline."""

    of: str
    """`message`, `shipment`, `dead letter` or `other dead letter`."""
    event: HistoryEvent | LetterEvent


def timeline(
    letter: DeadLetterRecord, shipment: Shipment | None, others: Iterable[DeadLetterRecord] = ()
) -> list[TimelineEntry]:
    """Return everything that is known of the letter's order, from publish to now, oldest first.

    `others`: other dead letters of the same order, a line each.
    """
    entries = [TimelineEntry("dead letter", event) for event in letter.history]
    entries += [TimelineEntry("shipment", event) for event in (shipment.history if shipment is not None else ())]
    for other in others:
        note = f"{other.id} · {other.reason}, {other.state} · {other.error_message}"
        event = LetterEvent(at=other.dead_lettered_at, event="dead_lettered", note=note)
        entries.append(TimelineEntry(OTHER, event))
    return [*published(shipment, [letter]), *sorted(entries, key=lambda entry: entry.event.at)]


def published(shipment: Shipment | None, letters: Iterable[DeadLetterRecord]) -> list[TimelineEntry]:
    """Return the first line of an order's timeline: when it was published; none where its publisher did not say.

    First whatever the others say: the publisher's clock is another one than the worker's.
    """
    at = shipment.published_at if shipment is not None else None
    at = at or min((letter.published_at for letter in letters if letter.published_at is not None), default=None)
    return [] if at is None else [TimelineEntry("message", LetterEvent(at=at, event="published"))]


def _concerned(stories: Sequence[ReplayStory], event: LetterEvent) -> int | None:
    """Return the place of the replay that an event is about: the one it names, else the last, if that is under way."""
    if event.replay_id is not None:
        return next((place for place, story in enumerate(stories) if story.replay_id == event.replay_id), None)
    if event.event not in {"resolved", *_ENDS} or not stories or stories[-1].outcome is not ReplayEnd.ON_ITS_WAY:
        return None
    return len(stories) - 1


def _after(story: ReplayStory, event: LetterEvent) -> ReplayStory:
    match event.event:
        case "taken":
            return replace(story, taken_by=event.by, taken_at=event.at)
        case "resolved":
            return replace(story, outcome=ReplayEnd.RESOLVED, ended_at=event.at)
        case "failed_again":
            return replace(story, outcome=ReplayEnd.FAILED_AGAIN, ended_at=event.at, error=event.note)
        case name if name in _ENDS:
            return replace(story, outcome=_ENDS[name], ended_at=event.at)
    return story


def _with_last_error(letter: DeadLetterRecord, stories: Sequence[ReplayStory]) -> Sequence[ReplayStory]:
    failures = [event for event in letter.history if event.event in {"filed", "failed_again"}]
    last = failures[-1].replay_id if failures else None
    return [
        replace(story, error=letter.error_message)
        if story.replay_id == last and story.outcome is ReplayEnd.FAILED_AGAIN
        else story
        for story in stories
    ]
