"""An overview without what is only known from before. Pure."""

from dataclasses import replace

from worker.overview_picture import BROKER, STORE, OldestWaiting, Overview


def known_now(overview: Overview) -> Overview:
    """Return the overview with nothing of a server that does not answer: for those who take a figure for today's."""
    overview = replace(overview, oldest_waiting=_oldest(overview))
    if BROKER in overview.unreachable:
        queues = [replace(queue, exists=None, ready=None, consumers=None) for queue in overview.queues]
        overview = replace(overview, queues=queues, delayed=None, delayed_notices=None)
    if STORE in overview.unreachable:
        overview = replace(
            overview,
            queues=[replace(queue, unacknowledged=None) for queue in overview.queues],
            workers=None,
            shipments=None,
            open_dead_letters=None,
            dead_letters=None,
            replay_job=None,
            control=None,
        )
    return overview


def _oldest(overview: Overview) -> OldestWaiting:
    if BROKER in overview.unreachable:
        return OldestWaiting(waiting=None, why_unknown=f"{BROKER} is not reachable")
    if STORE in overview.unreachable and overview.oldest_waiting.waiting:
        return OldestWaiting(waiting=True, why_unknown=f"{STORE} is not reachable")
    return overview.oldest_waiting
