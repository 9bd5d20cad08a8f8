"""A replay job: a stored selection of dead letters that go out again, a few first, then ever faster.

selecting ─▶ canary ─▶ ramp ─▶ settling ─▶ done
    │           │        │        │
    ├───────────┴────────┴────────┴──▶ paused ──resume──▶ where it was
    │           └────────┴──▶ stopped (by itself) ──resume──▶ canary
    └──▶ cancelled, from every state but done
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.domain.replay import Origin
from worker.domain.selection import Selection

_REPLAY_NAMESPACE = uuid.UUID("7c9a2d1e-4b0f-5f6a-9a57-2c1de8f0b3a4")


class JobState(StrEnum):
    """Where a job stands."""

    SELECTING = "selecting"
    """The letters it is about are being written down."""
    CANARY = "canary"
    """The first few are out; nothing else is, until their outcome is known."""
    RAMP = "ramp"
    """The rest goes out, ever faster up to its rate."""
    SETTLING = "settling"
    """Everything is out; some outcomes are not known yet."""
    PAUSED = "paused"
    STOPPED = "stopped"
    """It stopped by itself; `because` says why."""
    DONE = "done"
    CANCELLED = "cancelled"


RUNNING = frozenset({JobState.SELECTING, JobState.CANARY, JobState.RAMP, JobState.SETTLING})
"""States in which a worker moves the job on."""
ACTIVE = RUNNING | {JobState.PAUSED}
"""States that keep another job from starting."""
RESUMABLE = frozenset({JobState.PAUSED, JobState.STOPPED})
CANCELLABLE = ACTIVE | {JobState.STOPPED}


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How a job goes about it."""

    canary: int = 1
    """Letters that go first, alone; 0: none."""
    rate: float = 20.0
    """Letters a second, at most."""
    start_rate: float = 1.0
    """Letters a second when the ramp begins; doubles every 10 s."""
    stop_share: float = 0.1
    """The share of the last 100 outcomes that may fail in the same way; more stops the job."""
    in_flight: int = 1000
    """Copies on their way at once, at most."""
    overdue_after: float = 1800.0
    """Seconds after which a copy without an outcome is called overdue."""
    target: Origin | None = None
    """Where the copies go instead of where their letters came from."""


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """One replay job, as stored in `replays`."""

    id: str
    state: JobState
    selection: Selection
    options: ReplayOptions
    by: str
    why: str
    created_at: datetime
    state_since: datetime
    cutoff: datetime | None = None
    """Letters dead-lettered later are not part of it: the newest there was when it was started, by whatever clock."""
    total: int | None = None
    """Letters it is about; None while they are selected."""
    resumes_as: JobState | None = None
    """The state it was paused in."""
    round: int = 1
    """Canary rounds begun: a job that stopped by itself proves itself anew when it is resumed."""
    because: str | None = None
    """Why it stopped or was cancelled."""
    note: str | None = None
    """What it waits for just now."""
    finished_at: datetime | None = None
    runner: str | None = None
    """The worker that moves it on."""
    runner_until: datetime | None = None
    """Until when that worker holds it, by the store's clock."""

    @property
    def takes_until(self) -> datetime:
        """The moment after which a letter is too new for it."""
        return self.cutoff or self.created_at

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will go out any more."""
        return self.state in {JobState.DONE, JobState.CANCELLED}


class ItemState(StrEnum):
    """What became of one letter of a job."""

    WAITING = "waiting"
    """Not sent; in a job that is over: left alone."""
    SENT = "sent"
    """The broker has its copy; no outcome yet."""
    IN_DOUBT = "in_doubt"
    """It is being sent, or whoever sent it died over that: it is not sent again before more is known."""
    RESOLVED = "resolved"
    FAILED_AGAIN = "failed_again"
    """The same dead letter is open again."""
    NOT_SENT = "not_sent"
    """The broker refused its copy; the letter is open."""
    SKIPPED = "skipped"
    """It was not open any more when its turn came."""
    TAKEN_BACK = "taken_back"
    """Somebody took the letter away from this job before it had an outcome."""


ON_ITS_WAY = (ItemState.SENT, ItemState.IN_DOUBT)
TROUBLED = (ItemState.FAILED_AGAIN, ItemState.NOT_SENT, ItemState.TAKEN_BACK, ItemState.SKIPPED, *ON_ITS_WAY)
"""Not ended well, or not yet."""


@dataclass(frozen=True, slots=True)
class ReplayItem:
    """One letter of a job."""

    job_id: str
    letter_id: str
    size: int
    """Bytes of its body."""
    state: ItemState = ItemState.WAITING
    round: int = 0
    """The canary round it went out in; 0 when it was no canary."""
    sent_at: datetime | None = None
    ended_at: datetime | None = None
    why: str | None = None
    """A sentence, where it did not end well."""
    failed_as: str | None = None
    """The fingerprint of its new failure."""

    @property
    def replay_id(self) -> str:
        """The id of this letter's replay in this job: derived, so that whoever goes on with the job names the same."""
        return str(uuid.uuid5(_REPLAY_NAMESPACE, f"{self.job_id}:{self.letter_id}"))


@dataclass(frozen=True, slots=True)
class ReplayTally:
    """The sum of a job's letters, by what became of them."""

    counts: dict[ItemState, int] = field(default_factory=dict)
    overdue: int = 0
    """Of those on their way: without an outcome for longer than the job allows."""

    def of(self, *states: ItemState) -> int:
        """Return how many letters are in one of these states."""
        return sum(self.counts.get(state, 0) for state in states)

    @property
    def on_its_way(self) -> int:
        """Letters whose copy is out, or may be."""
        return self.of(*ON_ITS_WAY)

    @property
    def is_success(self) -> bool:
        """Whether every letter ended well so far."""
        bad = (ItemState.FAILED_AGAIN, ItemState.NOT_SENT, ItemState.TAKEN_BACK, *ON_ITS_WAY, ItemState.WAITING)
        return self.of(*bad) == 0
