"""What a request's body asks for: which dead letters, why, and how a replay goes about it."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from infra.console.api.filters import LetterId, Text, Time
from worker.domain.controls import MAX_PREFETCH
from worker.domain.replay import Origin
from worker.domain.replay_job import ReplayOptions
from worker.domain.replay_jobs import MAX_RATE
from worker.domain.selection import Selection

_MOST_IDS = 1000
_DEFAULTS = ReplayOptions()
_MOST_WORDS = 1000
_SHORT = 255  # bytes, of AMQP's names and keys


def _short_as_sent(value: object) -> object:
    if isinstance(value, str) and len(value) > _MOST_WORDS:
        raise ValueError(f"at most {_MOST_WORDS} characters, spaces around it included")
    return value


_AS_SENT = BeforeValidator(_short_as_sent)
"""Counts as the OpenAPI document does: a limit beside `strip_whitespace` is one of what is left."""
_Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=_MOST_WORDS),
    Field(description="for everybody to see, and for the audit log"),
]
Why = Annotated[_Words, _AS_SENT]


def _fits_amqp(value: str) -> str:
    if len(value.encode()) > _SHORT:
        raise ValueError(f"at most {_SHORT} bytes")
    return value


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)
"""For a whole number: JSON knows no difference between 5 and 5.0."""
ShortText = Annotated[str, Field(max_length=_SHORT), AfterValidator(_fits_amqp)]
Rate = Annotated[float, Field(gt=0, le=MAX_RATE, description="letters a second, at most")]


_SAID = {"properties": {"why": {"type": "string", "pattern": r"\S"}}, "required": ["why"]}
_ONLY_SHOWN = {"properties": {"dry_run": {"const": True}}, "required": ["dry_run"]}
_WHY_OR_DRY_RUN: dict[str, Any] = {"anyOf": [_SAID, _ONLY_SHOWN]}
"""What `_is_meant` checks, for the OpenAPI document."""


class Body(BaseModel):
    """What every body has in common: a field that is not known is told, not ignored; `true` is no number."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


class Reason(Body):
    """Why something is done."""

    why: Why = ""


class NeededReason(Body):
    """Why something is done."""

    why: Annotated[_Words, Field(min_length=1, pattern=r"\S"), _AS_SENT]


_FILTERS = ("reason", "group", "order_id", "trace_id", "since", "until")
_NAMED: list[Any] = [
    {"properties": {"ids": {"minItems": 1}}, "required": ["ids"]},
    *({"properties": {name: {"type": "string"}}, "required": [name]} for name in _FILTERS),
]
_ALL = {"properties": {"everything": {"const": True}}, "required": ["everything"]}
_ONE_OR_THE_OTHER: dict[str, Any] = {"oneOf": [{"anyOf": _NAMED}, _ALL]}


class Which(Body):
    """Dead letters: those named, those that match, or all."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_WHY_OR_DRY_RUN, _ONE_OR_THE_OTHER]})

    ids: list[LetterId] = Field([], max_length=_MOST_IDS)
    reason: Text | None = None
    group: Text | None = Field(None, description="a group's fingerprint")
    order_id: Text | None = None
    trace_id: Text | None = None
    since: Time | None = None
    until: Time | None = None
    everything: bool = Field(default=False, description="all of them; instead of ids and filters")
    why: Why = Field("", description="needed but for a dry run")
    dry_run: bool = Field(default=False, description="only say what would be done")
    expected: Annotated[int, Field(ge=0), _WHOLE] | None = Field(
        None, description="how many a dry run has counted: with another number now, nothing is done"
    )

    @model_validator(mode="after")
    def _is_meant(self) -> Self:
        named = bool(self.ids) or any(getattr(self, name) is not None for name in _FILTERS)
        if not named and not self.everything:
            raise ValueError("say which: ids, filters such as group or since, or everything: true")
        if named and self.everything:
            raise ValueError("everything means all: it goes with neither ids nor filters")
        if not self.why and not self.dry_run:
            raise ValueError("say why, for the audit log: why")
        return self

    @property
    def selection(self) -> Selection:
        """What is selected, whatever its state."""
        return Selection(ids=tuple(dict.fromkeys(self.ids)), **{name: getattr(self, name) for name in _FILTERS})


class Target(Body):
    """Where copies go instead of where their letters came from."""

    exchange: ShortText = Field(description="the default exchange is an empty text")
    routing_key: ShortText


class ReplayRequest(Which):
    """A replay job."""

    canary: Annotated[int, Field(ge=0, le=1000), _WHOLE] = Field(
        _DEFAULTS.canary, description="so many go first, alone; 0: none"
    )
    rate: Rate = _DEFAULTS.rate
    start_rate: float = Field(_DEFAULTS.start_rate, gt=0, le=MAX_RATE, description="at first; doubles every 10 s")
    stop_share: float = Field(
        _DEFAULTS.stop_share, ge=0, le=1, description="the share of the last 100 outcomes that may fail in the same way"
    )
    in_flight: Annotated[int, Field(ge=1, le=100_000), _WHOLE] = Field(
        _DEFAULTS.in_flight, description="copies on their way at once, at most"
    )
    target: Target | None = None

    @property
    def options(self) -> dict[str, Any]:
        """How the job goes about it."""
        target = None if self.target is None else Origin(self.target.exchange, self.target.routing_key)
        start_rate = min(self.start_rate, self.rate)
        names = ("canary", "rate", "stop_share", "in_flight")
        return {**{name: getattr(self, name) for name in names}, "start_rate": start_rate, "target": target}


class RateRequest(Reason):
    """Another rate for a running job."""

    rate: Rate


class EditRequest(Body):
    """A corrected dead letter."""

    model_config = ConfigDict(json_schema_extra=_WHY_OR_DRY_RUN)

    revision: Annotated[int, Field(ge=0, le=2**53), _WHOLE] = Field(description="of the letter that you have looked at")
    body_text: str | None = Field(None, description="the new body, as text")
    body_base64: str | None = Field(None, description="the new body, byte for byte")
    fields: Mapping[str, Any] = Field({}, description="fields of a JSON body to set; `a.b` is b within a")
    headers: Mapping[str, str | None] = Field({}, description="headers of the publisher's to set; null drops one")
    exchange: ShortText | None = Field(None, description="send this copy to another exchange")
    routing_key: ShortText | None = Field(None, description="send it with another routing key")
    why: Why = Field("", description="needed but for a dry run")
    dry_run: bool = Field(default=False, description="check it and say what it changes; send nothing")

    @model_validator(mode="after")
    def _is_meant(self) -> Self:
        if (self.body_text is not None) + (self.body_base64 is not None) + bool(self.fields) > 1:
            raise ValueError("give one of body_text, body_base64 and fields")
        if not self.why and not self.dry_run:
            raise ValueError("say why, for the audit log: why")
        try:
            base64.b64decode(self.body_base64 or "", validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("body_base64 is not base64") from None
        return self

    @property
    def body(self) -> bytes | None:
        """The new body, None when it stays or single fields of it are set."""
        if self.body_text is not None:
            return self.body_text.encode("utf-8")
        return None if self.body_base64 is None else base64.b64decode(self.body_base64)


class Workers(Body):
    """Workers: those named, or all."""

    workers: list[Annotated[str, Field(min_length=1, max_length=300)]] | None = Field(
        None, min_length=1, max_length=1000, description="names; null: all, those that start later included"
    )


class HoldWorkers(Workers, NeededReason):
    """Workers to hold back, and why."""


class ReleaseWorkers(Workers, Reason):
    """Workers to let go on."""


class PrefetchRequest(ReleaseWorkers):
    """How many orders workers handle at once."""

    prefetch: Annotated[int, Field(ge=1, le=MAX_PREFETCH), _WHOLE] | None = Field(
        description="null: as their own settings say"
    )
