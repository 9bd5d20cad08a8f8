"""What operators wish of the workers, and what each worker is to do by it. Pure.

A wish is for the whole fleet or for one worker. Of one kind the worker's own wish counts, else the fleet's; a wish for
the fleet takes the place of all earlier ones of its kind. Which is newer is told by a revision, never by a clock.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from worker.domain.errors import ControlRefusedError

MAX_PREFETCH = 10_000
"""Orders that one worker handles at once, at most."""
_LONGEST_TEXT = 300


class ControlAction(StrEnum):
    """What can be wished."""

    PAUSE = "pause"
    RESUME = "resume"
    PREFETCH = "prefetch"
    OPEN_CIRCUIT = "circuit.open"
    RESET_CIRCUIT = "circuit.reset"


class ControlKind(StrEnum):
    """What a wish is about: a newer one of the same kind takes its place."""

    INTAKE = "intake"
    PREFETCH = "prefetch"
    CIRCUIT = "circuit"


KIND_OF = {
    ControlAction.PAUSE: ControlKind.INTAKE,
    ControlAction.RESUME: ControlKind.INTAKE,
    ControlAction.PREFETCH: ControlKind.PREFETCH,
    ControlAction.OPEN_CIRCUIT: ControlKind.CIRCUIT,
    ControlAction.RESET_CIRCUIT: ControlKind.CIRCUIT,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """One wish of an operator."""

    action: ControlAction
    worker: str | None
    """The worker's name; None: the whole fleet, those that start later included."""
    by: str
    why: str
    since: datetime
    """By the operator's clock: to be shown, not to be compared."""
    revision: int = 0
    prefetch: int | None = None
    """With PREFETCH: orders at once; None: what the worker's own setting says."""

    @property
    def kind(self) -> ControlKind:
        """What it is about."""
        return KIND_OF[self.action]

    @property
    def holds_back(self) -> bool:
        """Whether a worker that carries it out does other than it would by itself."""
        if self.action is ControlAction.PREFETCH:
            return self.prefetch is not None
        return self.action in {ControlAction.PAUSE, ControlAction.OPEN_CIRCUIT}


@dataclass(frozen=True, slots=True)
class Control:
    """What one worker is to do; each part is the wish behind it, None: as it would by itself."""

    revision: int = 0
    """Of the wishes it comes from."""
    paused: Wish | None = None
    prefetch: Wish | None = None
    open_circuit: Wish | None = None
    reset: int = 0
    """The revision of the wish to close the circuit that counts, to be carried out once; 0: there is none."""

    @property
    def parts(self) -> tuple[Wish | None, ...]:
        """The wishes behind it."""
        return (self.paused, self.open_circuit, self.prefetch)


@dataclass(frozen=True, slots=True)
class Wishes:
    """All wishes that count, and how often they have been changed."""

    revision: int = 0
    wishes: tuple[Wish, ...] = ()

    def for_worker(self, name: str) -> Control:
        """Return what the worker of this name is to do."""
        chosen: dict[ControlKind, Wish] = {}
        for wish in self.wishes:
            if wish.worker == name or (wish.worker is None and wish.kind not in chosen):
                chosen[wish.kind] = wish
        holding = {kind: wish for kind, wish in chosen.items() if wish.holds_back}
        return Control(
            revision=self.revision,
            paused=holding.get(ControlKind.INTAKE),
            prefetch=holding.get(ControlKind.PREFETCH),
            open_circuit=holding.get(ControlKind.CIRCUIT),
            reset=_reset_of(chosen.get(ControlKind.CIRCUIT)),
        )

    def with_wish(self, wish: Wish, *, workers: Collection[str] | None, known: Collection[str]) -> "Wishes":
        """Return the wishes after one more: for these workers, or for the fleet when None.

        What was wished of workers that nobody knows any more (`known`: those that are) is dropped.
        """
        revision = self.revision + 1
        new = replace(wish, revision=revision, by=_short(wish.by), why=_short(wish.why))
        kept = [old for old in self.wishes if not _is_replaced(old, wish.kind, workers)]
        names = [None] if workers is None else list(dict.fromkeys(workers))
        return Wishes(
            revision,
            (
                *(old for old in kept if old.worker is None or old.worker in known),
                *(replace(new, worker=name) for name in names),
            ),
        )


NO_WISHES = Wishes()


def checked_prefetch(prefetch: int | None) -> int | None:
    """Return the prefetch. Raises ControlRefusedError for one that no worker can have."""
    if prefetch is not None and not 1 <= prefetch <= MAX_PREFETCH:
        raise ControlRefusedError(f"a prefetch is 1 to {MAX_PREFETCH}; to take no orders at all, pause the workers")
    return prefetch


def _reset_of(wish: Wish | None) -> int:
    return wish.revision if wish is not None and wish.action is ControlAction.RESET_CIRCUIT else 0


def _is_replaced(old: Wish, kind: ControlKind, workers: Collection[str] | None) -> bool:
    return old.kind is kind and (workers is None or old.worker in workers)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
