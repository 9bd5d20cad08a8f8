"""What is held back by hand, in words: for every view of the whole."""

from collections.abc import Sequence
from dataclasses import replace

from worker.domain.controls import ControlAction, Wish, Wishes
from worker.problem import Problem, ProblemKind
from worker.worker_views import WorkerView

_NAMED = 3
_ORDER = (ControlAction.PAUSE, ControlAction.OPEN_CIRCUIT, ControlAction.PREFETCH)
_END = {
    ControlAction.PAUSE: "resume",
    ControlAction.OPEN_CIRCUIT: "circuit reset",
    ControlAction.PREFETCH: "prefetch default",
}


def held_back(wishes: Wishes, workers: Sequence[WorkerView]) -> list[Problem]:
    """Return each wish that holds workers back, in words: what, whom, who, since when, why, and what ends it.

    workers: those that live and take orders. A wish for one that is not among them is left out.
    """
    concerned: dict[Wish, list[WorkerView]] = {
        wish: [] for wish in wishes.wishes if wish.worker is None and wish.holds_back
    }
    for worker in workers:
        for wish in wishes.for_worker(worker.name).parts:
            if wish is not None:
                concerned.setdefault(_named_together(wish), []).append(worker)
    in_order = sorted(concerned, key=lambda wish: (_ORDER.index(wish.action), wish.worker is not None, wish.revision))
    return [_problem(wish, concerned[wish], workers) for wish in in_order]


def listed_names(names: Sequence[str]) -> str:
    """Return `a, b, c and 4 more`."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _named_together(wish: Wish) -> Wish:
    """Return the same for all workers that were named in one command."""
    return wish if wish.worker is None else replace(wish, worker="")


def _problem(wish: Wish, concerned: Sequence[WorkerView], workers: Sequence[WorkerView]) -> Problem:
    late = [worker.name for worker in concerned if worker.control_revision < wish.revision]
    not_yet = f" ({listed_names(late)}: not yet)" if late else ""
    why = f": {wish.why}" if wish.why else ""
    end = f"'logistics workers {_END[wish.action]} {'--all' if wish.worker is None else 'NAME'}' ends it"
    whom = _whom(wish, [worker.name for worker in concerned], [worker.name for worker in workers])
    words = (f"{_what(wish)} on {whom}{not_yet} by {wish.by} since ", wish.since, why)
    return Problem(ProblemKind.HELD_BACK, words, about=f"{wish.action} {wish.worker} {wish.revision}", advice=end)


def _what(wish: Wish) -> str:
    if wish.action is ControlAction.PREFETCH:
        return f"the prefetch is set to {wish.prefetch:,}"
    return "taking orders is paused" if wish.action is ControlAction.PAUSE else "the circuit is held open"


def _whom(wish: Wish, concerned: Sequence[str], workers: Sequence[str]) -> str:
    if wish.worker is not None:
        return listed_names(concerned)
    others = sorted(set(workers) - set(concerned))
    return f"all workers but {listed_names(others)}" if others else "all workers"
