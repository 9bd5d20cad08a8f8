"""How far a replay job is, as a bar with its counts."""

from infra.console.pages.kit import Tag
from infra.console.pages.words import BAD, CALM, GOOD, LOOK, WARN, words
from worker.domain.replay_job import ItemState, ReplayJob
from worker.domain.replay_jobs import ReplayProgress

_BAR = (
    ("good", (ItemState.RESOLVED,)),
    ("is-bad", (ItemState.FAILED_AGAIN, ItemState.NOT_SENT)),
    ("is-way", (ItemState.SENT, ItemState.IN_DOUBT)),
)
_COUNTED = {
    ItemState.RESOLVED: ("resolved", GOOD),
    ItemState.FAILED_AGAIN: ("failed again", BAD),
    ItemState.NOT_SENT: ("refused by the broker", BAD),
    ItemState.SENT: ("on their way", WARN),
    ItemState.IN_DOUBT: ("in doubt", WARN),
    ItemState.SKIPPED: ("not open any more", CALM),
    ItemState.TAKEN_BACK: ("taken back", CALM),
    ItemState.WAITING: ("not sent yet", CALM),
}


class Meter:
    """The bar."""

    def __init__(self) -> None:
        with Tag("div", classes="meter", role="img") as self._bar:
            self._parts = [(Tag("i", classes=look), states) for look, states in _BAR]

    def show(self, progress: ReplayProgress) -> None:
        """Show how far the job is now."""
        total = progress.job.total or 0
        for part, states in self._parts:
            part.style(f"width: {100 * progress.tally.of(*states) / total if total else 0:.2f}%")
        self._bar.put(aria_label=in_words(progress))


def in_words(progress: ReplayProgress) -> str:
    """Return `12 of 40 resolved`, or how many are selected so far."""
    if progress.job.total is None:
        return f"{sum(progress.tally.counts.values()):,} selected so far"
    return f"{progress.tally.of(ItemState.RESOLVED):,} of {progress.job.total:,} resolved"


def counts(progress: ReplayProgress) -> dict[str, tuple[str, str]]:
    """Return what has become of the letters: for each state that has some, words and their look."""
    found = {
        str(state): (f"{progress.tally.of(state):,} {text}", look)
        for state, (text, look) in _COUNTED.items()
        if progress.tally.of(state)
    }
    if progress.tally.overdue:
        found["overdue"] = (f"{progress.tally.overdue:,} overdue", BAD)
    return found


def show_state(tag: Tag, job: ReplayJob) -> None:
    """Show where a job stands in a chip."""
    tag.say(words(job.state)).look(f"chip {LOOK.get(job.state, '')}".strip())
