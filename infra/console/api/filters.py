"""Which dead letters, as a query or a request's body says it: the filters of the command line."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from worker.domain.durations import read_time
from worker.domain.selection import DeadLetterState, Place, Selection

ALL = "all"
_ID = r"^[0-9a-f-]{1,36}$"
_MOST_IDS = 1000
_CURSOR = re.compile(r"(\d{1,14})\.([0-9a-f-]{1,36})")


def _to_time(value: object) -> object:
    return read_time(value, now=datetime.now(UTC)) if isinstance(value, str) else value


def _to_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


LetterId = Annotated[str, Field(pattern=_ID, description="the whole id of a dead letter")]
Text = Annotated[str, Field(max_length=1000)]
Time = Annotated[
    datetime,
    BeforeValidator(_to_time),
    AfterValidator(_to_utc),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "pattern": "^[0-9]{1,4}(ms|s|m|h|d)$"},
            ],
            "examples": ["2026-03-01T12:00:00Z", "2h"],
            "description": "ISO 8601 (UTC where it has no zone), or how long ago: 2h, 30m, 3d",
        }
    ),
]


class Filters(BaseModel):
    """Dead letters that match everything that is given."""

    model_config = ConfigDict(extra="forbid")

    state: DeadLetterState | Literal["all"] = Field(DeadLetterState.OPEN, description="where they stand")
    reason: Text | None = Field(None, description="why they are dead letters")
    group: Text | None = Field(None, description="a group's fingerprint")
    order_id: Text | None = None
    trace_id: Text | None = None
    since: Time | None = Field(None, description="dead-lettered then or later")
    until: Time | None = Field(None, description="dead-lettered before then")

    def selection(self, **more: Any) -> Selection:
        """Return what is selected."""
        state = None if self.state == ALL else DeadLetterState(self.state)
        names = ("reason", "group", "order_id", "trace_id", "since", "until")
        return Selection(state=state, **{name: getattr(self, name) for name in names}, **more)


class PageFilters(Filters):
    """The same, a part at a time."""

    limit: int = Field(50, ge=1, le=1000, description="letters in this part, at most")
    cursor: str | None = Field(None, pattern=f"^{_CURSOR.pattern}$", description="`next` of the part before")

    @property
    def after(self) -> Place | None:
        """Where the part begins."""
        found = _CURSOR.fullmatch(self.cursor or "")
        return None if found is None else Place(datetime.fromtimestamp(int(found[1]) / 1000, UTC), found[2])


def cursor_of(place: Place | None) -> str | None:
    """Return how the API writes a place in a list."""
    return None if place is None else f"{round(place.at.timestamp() * 1000)}.{place.id}"
