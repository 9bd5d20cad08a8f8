"""What the API's answers about the whole system look like, for its OpenAPI document."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, Field

from infra.console.access.roles import Role
from infra.console.access.visitor import Way
from worker.domain.controls import Wishes
from worker.overview_picture import QueueView, ReplayView
from worker.rates import Rates
from worker.worker_views import WorkerView


class OldestWaitingModel(BaseModel):
    """The oldest order in orders.work."""

    waiting: bool | None
    at_most: float | None = Field(description="its age in seconds, at most")
    why_unknown: str | None
    in_words: str


class OverviewModel(BaseModel):
    """Everything at one moment; what could not be asked is null, and `unreachable` says why."""

    problems: list[str] = Field(description="what is wrong, the worst first")
    taken_at: datetime
    queues: list[QueueView]
    delayed: Mapping[str, int | None] | None = Field(description="orders in the delay queues, by delay")
    delayed_notices: Mapping[str, int | None] | None
    workers: list[WorkerView] | None
    shipments: Mapping[str, int] | None = Field(description="by status")
    open_dead_letters: Mapping[str, int] | None = Field(description="by reason")
    dead_letters: Mapping[str, int] | None = Field(description="by state")
    oldest_waiting: OldestWaitingModel
    unreachable: Mapping[str, str]
    replay_job: ReplayView | None
    control: Wishes | None = Field(description="what is wished of the workers by hand")


class PictureModel(OverviewModel):
    """The same twice a second, with what has to be watched for a time."""

    number: int = Field(description="counts the pictures since the console started")
    rates: Rates
    last_known: Mapping[str, datetime] = Field(description="of servers that do not answer: of when is what is shown")


class AuditEntryModel(BaseModel):
    """Who did what."""

    id: str
    at: datetime
    who: str
    action: str
    why: str
    what: str
    job_id: str | None
    count: int | None
    result: str | None = Field(description="`done`, or why not; null: not finished")
    finished: bool


class AuditList(BaseModel):
    """The audit log, newest first."""

    entries: list[AuditEntryModel]


class WorkerList(BaseModel):
    """The workers."""

    held_back: list[str] = Field(description="what is held back by hand, in words")
    workers: list[WorkerView]
    control: Wishes


class WishAnswers(BaseModel):
    """Which workers have carried out what was wished."""

    revision: int
    done: list[str]
    not_answered: list[str] = Field(description="they do it as soon as they can read the store")


class SessionModel(BaseModel):
    """Who you are, for the console."""

    name: str
    role: Role
    way: Way = Field(description="how the console knows")
    masked: bool = Field(description="whether personal data is hidden from you")
