"""What the API's answers about dead letters and orders look like, for its OpenAPI document."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from worker.domain.dead_letter import LetterEvent, LetterKind
from worker.domain.letter_story import ReplayStory, TimelineEntry
from worker.domain.selection import DeadLetterGroup, DeadLetterState, HourCount
from worker.domain.shipment import HistoryEvent, ShipmentStatus


class Letter(BaseModel):
    """A dead letter, without its body."""

    id: str
    state: DeadLetterState
    reason: str
    order_id: str | None = Field(description="null when the message does not tell")
    trace_id: str
    headers: Mapping[str, Any]
    error_type: str
    error_message: str
    error_chain: list[str]
    fingerprint: str = Field(description="what its group has in common")
    origin_exchange: str
    origin_routing_key: str
    first_failed_at: datetime
    dead_lettered_at: datetime
    attempts: list[HistoryEvent]
    replay_count: int = Field(description="replays that failed again")
    replay_id: str | None = Field(description="the replay under way, or the last one")
    job_id: str | None
    kind: LetterKind
    version: int = Field(description="which body it is: 0 as it arrived, 1 after the first edit, …")
    published_at: datetime | None
    expires_at: datetime | None = Field(description="when a discarded one goes for good")
    history: list[LetterEvent]


class LetterList(BaseModel):
    """A part of a list of dead letters."""

    total: int = Field(description="how many the whole list has")
    dead_letters: list[Letter]
    next: str | None = Field(description="give it as `cursor` for the next part; null: this was the last")


class GroupList(BaseModel):
    """Dead letters by what went wrong, the largest group first."""

    groups: list[DeadLetterGroup]


class HourList(BaseModel):
    """Dead letters by the hour in which they were dead-lettered last."""

    hours: list[HourCount]


class LetterShipment(BaseModel):
    """The shipment of a dead letter's order."""

    id: str
    status: ShipmentStatus
    retry_count: int
    last_error: str | None
    history: list[HistoryEvent]


class LetterVersionModel(BaseModel):
    """One of the bodies a dead letter has had."""

    number: int
    size: int
    at: datetime
    by: str | None
    why: str | None
    replay_id: str | None


class WholeLetter(Letter):
    """Everything about one dead letter."""

    revision: int = Field(description="name it when you edit: an edit of what has changed since is refused")
    body_base64: str | None = Field(description="the body, byte for byte; null when it is hidden from you")
    body_text: str | None = Field(description="the body, where it is UTF-8")
    masked: bool = Field(description="whether personal data is hidden from you")
    shipment: LetterShipment | None
    replays: list[ReplayStory]
    versions: list[LetterVersionModel]
    timeline: list[TimelineEntry]


class OrderMatches(BaseModel):
    """Orders that were found."""

    orders: list[str] = Field(description="order ids")


class OrderShipment(LetterShipment):
    """The shipment of an order."""

    destination: str = Field(description="••• when it is hidden from you")
    published_at: datetime | None = Field(description="null where the publisher did not say")
    created_at: datetime
    updated_at: datetime
    delivered_at: datetime | None


class OrderStoryModel(BaseModel):
    """Everything that is known of an order."""

    order_id: str
    trace_id: str | None
    masked: bool = Field(description="whether personal data is hidden from you")
    shipment: OrderShipment | None
    dead_letters: list[Letter]
    timeline: list[TimelineEntry] = Field(description="oldest first")
