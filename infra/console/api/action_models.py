"""What the API's answers to actions look like, for its OpenAPI document."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from worker.domain.edit import EditResult
from worker.domain.replay_job import ItemState, JobState, ReplayOptions
from worker.domain.selection import DeadLetterGroup, DeadLetterState, Selection


class TriageAnswer(BaseModel):
    """What was moved, or with `dry_run` would be."""

    action: str
    dry_run: bool
    matched: int
    ids: list[str]
    overdue: list[str] = Field(description="of those, the ones whose replay is given up")
    left_alone: Mapping[DeadLetterState, int] = Field(description="how many are in a state that this does not move")
    not_matching: int
    discarded: int | None = None
    restored: int | None = None
    given_up: int | None = None
    changed: int | None = Field(None, description="left alone, as they changed meanwhile")
    expires_at: datetime | None = Field(None, description="when discarded ones go for good")


class HeaderChange(BaseModel):
    """A header before and after."""

    before: Any
    after: Any


class EditAnswer(BaseModel):
    """What an edit changes, and what became of it."""

    id: str
    dry_run: bool
    version: int
    exchange: str
    routing_key: str
    body_changes: list[str] = Field(description="lines of a unified diff")
    header_changes: Mapping[str, HeaderChange]
    result: EditResult | None
    replay_id: str | None
    why: str | None = Field(description="a sentence, where it was not sent")


class JobLetter(BaseModel):
    """A letter of a job."""

    id: str
    state: ItemState
    why: str | None
    sent_at: datetime | None


class ReplayPlanModel(BaseModel):
    """What a job would do."""

    dry_run: bool
    would_replay: int
    by_reason: Mapping[str, int]
    groups: list[DeadLetterGroup]
    left_alone: Mapping[DeadLetterState, int]
    not_matching: int
    hopeless: int = Field(description="malformed ones, which fail again as they are")
    options: ReplayOptions


class ReplayModel(BaseModel):
    """A replay job and how far it is."""

    id: str
    state: JobState
    because: str | None = Field(description="why it is paused, stopped or cancelled")
    waits_for: str | None
    by: str
    why: str
    selection: Selection
    options: ReplayOptions
    created_at: datetime
    finished_at: datetime | None
    runner: str | None = Field(description="the worker that moves it on")
    total: int | None = Field(description="letters it is about; null while they are selected")
    waiting: int
    sent: int
    in_doubt: int
    resolved: int
    failed_again: int
    not_sent: int
    skipped: int
    taken_back: int
    on_its_way: int
    overdue: int
    rate: float = Field(description="letters a second that may go out now")
    all_sent_at: datetime | None
    arrived_since: int = Field(description="letters that match, too, but came too late to be part of it")
    letters: list[JobLetter] | None = Field(None, description="those that did not end well, when asked for")


class ReplayList(BaseModel):
    """Replay jobs, newest first."""

    jobs: list[ReplayModel]
