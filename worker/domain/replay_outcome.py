"""What a dead letter tells about one replay of it. Pure."""

from dataclasses import replace
from datetime import datetime

from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.replay_job import ItemState, ReplayItem
from worker.domain.selection import DeadLetterState


def outcome_of(item: ReplayItem, letter: DeadLetterRecord, *, now: datetime) -> ReplayItem | None:
    """Return the item with its outcome; None while its copy is on its way.

    A letter that somebody else resolved (the order was published again and shipped) is resolved all the same.
    """
    if letter.state is DeadLetterState.RESOLVED:
        return replace(item, state=ItemState.RESOLVED, ended_at=now, why=None)
    events = [event for event in letter.history if event.replay_id == item.replay_id]
    if any(event.event == "failed_again" for event in events):
        return replace(
            item,
            state=ItemState.FAILED_AGAIN,
            ended_at=now,
            why=letter.error_message,
            failed_as=letter.fingerprint,
        )
    if letter.state is DeadLetterState.REPLAYING and letter.replay_id == item.replay_id:
        return None
    refused = next((event for event in events if event.event == "not_sent"), None)
    if refused is not None:
        return replace(item, state=ItemState.NOT_SENT, ended_at=now, why=refused.note)
    who = next((f" by {event.by}" for event in reversed(letter.history) if event.event == "given_up" and event.by), "")
    return replace(item, state=ItemState.TAKEN_BACK, ended_at=now, why=f"the letter was taken back{who}")


def was_claimed(item: ReplayItem, letter: DeadLetterRecord) -> bool:
    """Return whether the letter has been in this replay; without that no copy can have gone out."""
    return letter.replay_id == item.replay_id or any(event.replay_id == item.replay_id for event in letter.history)


def claimed_at(item: ReplayItem, letter: DeadLetterRecord) -> datetime | None:
    """Return when the letter was claimed for this replay last; each claim may have a copy of its own."""
    claims = (event for event in letter.history if event.event in {"replayed", "sent_again"})
    return max((event.at for event in claims if event.replay_id == item.replay_id), default=None)


def was_taken(item: ReplayItem, letter: DeadLetterRecord) -> bool:
    """Return whether a worker has taken the copy, which proves that it went out."""
    return any(event.event == "taken" and event.replay_id == item.replay_id for event in letter.history)
