"""What is held back by hand, in words: for every view of the whole."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

from worker.domain.controls import ControlAction, Wish, Wishes
from worker.overview_picture import WorkerView

_NAMED = 3
_ORDER = (ControlAction.PAUSE, ControlAction.OPEN_CIRCUIT, ControlAction.PREFETCH)
_END = {
    ControlAction.PAUSE: "resume",
    ControlAction.OPEN_CIRCUIT: "circuit reset",
    ControlAction.PREFETCH: "prefetch default",
}


def held_back(wishes: Wishes, workers: Sequence[WorkerView], *, now: datetime) -> list[str]:
    """Return a sentence for each wish that holds workers back: what, whom, who, since when, why, and what ends it.

    workers: those that live and take orders. A wish for one that is not among them is left out.
    """
    holding = [wish for wish in wishes.wishes if wish.holds_back]
    holding.sort(key=lambda wish: (_ORDER.index(wish.action), wish.worker is not None, wish.revision))
    names = {worker.name for worker in workers}
    sentences: list[str] = []
    for _, group in groupby(holding, key=lambda wish: (wish.action, wish.worker is None, wish.revision)):
        same = [wish for wish in group if wish.worker is None or wish.worker in names]
        if same:
            sentences.append(_sentence(same, wishes, workers, now))
    return sentences


def listed_names(names: Sequence[str]) -> str:
    """Return `a, b, c and 4 more`."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _sentence(same: Sequence[Wish], wishes: Wishes, workers: Sequence[WorkerView], now: datetime) -> str:
    wish = same[0]
    whom = _whom(same, wishes, workers)
    late = [worker.name for worker in _concerned(same, wishes, workers) if worker.control_revision < wish.revision]
    not_yet = f" ({listed_names(late)}: not yet)" if late else ""
    why = f": {wish.why}" if wish.why else ""
    end = f"'logistics workers {_END[wish.action]} {'--all' if wish.worker is None else 'NAME'}' ends it"
    return f"{_what(wish)} on {whom}{not_yet} by {wish.by} since {_time(wish.since, now)}{why}; {end}"


def _what(wish: Wish) -> str:
    if wish.action is ControlAction.PREFETCH:
        return f"the prefetch is set to {wish.prefetch:,}"
    return "taking orders is paused" if wish.action is ControlAction.PAUSE else "the circuit is held open"


def _whom(same: Sequence[Wish], wishes: Wishes, workers: Sequence[WorkerView]) -> str:
    if same[0].worker is not None:
        return listed_names([wish.worker for wish in same if wish.worker is not None])
    concerned = {worker.name for worker in _concerned(same, wishes, workers)}
    others = [worker.name for worker in workers if worker.name not in concerned]
    return f"all workers but {listed_names(others)}" if others else "all workers"


def _concerned(same: Sequence[Wish], wishes: Wishes, workers: Sequence[WorkerView]) -> Iterator[WorkerView]:
    """Yield the workers for which one of these wishes counts."""
    for worker in workers:
        if any(wish in wishes.for_worker(worker.name).parts for wish in same):
            yield worker


def _time(time: datetime, now: datetime) -> str:
    return f"{time:%H:%M} UTC" if time.date() == now.date() else f"{time:%Y-%m-%d %H:%M} UTC"
