"""Taking a replay's copy: noted first, so that nobody reopens its dead letter while it is on its way."""

from datetime import datetime

from worker.domain.delivery import MessageState
from worker.domain.ports import IDeadLetters


async def note_taken(dead_letters: IDeadLetters, state: MessageState, *, by: str, now: datetime) -> None:
    """Note that worker `by` has this replay's copy in hand; nothing for any other message.

    Called at every delivery until the first failed try, not at the first alone: that one may have met a store that was
    down. Only the first note counts. Raises StoreUnavailableError.
    """
    if state.untried_replay is not None:
        letter_id, replay_id = state.untried_replay
        await dead_letters.mark_taken(letter_id, replay_id=replay_id, by=by, now=now)
