"""How the simulated supplier behaves: its settings, and the decision what one request meets. Pure, no I/O."""

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Rate = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WrongBehaviour(ValueError):
    """The settings describe no behaviour; the message is one line for a person."""


class Rule(BaseModel):
    """What the orders whose id matches a glob meet, for certain: rates do not apply to them.

    A rule that asks for nothing but a match accepts. `fail_first` may be combined with a verdict, which comes after it.
    """

    model_config = _STRICT

    match: str = Field(min_length=1, description="glob on the order id, case-sensitive: 'A-*'")
    enabled: bool = Field(default=True, description="false: as if the rule were not there")
    fail_first: int = Field(default=0, ge=0, description="the first n requests of each key are answered 500")
    refuse: bool = Field(default=False, description="422 with a reason")
    refuse_softly: bool = Field(default=False, description='200 with {"accepted": false} and a reason')
    status: int | None = Field(default=None, ge=200, le=599, description="always this status; a 2xx dispatches")
    latency: Seconds | None = Field(default=None, description="seconds; replaces the general latency, no jitter")

    @model_validator(mode="after")
    def _one_verdict(self) -> Self:
        if self.refuse + self.refuse_softly + (self.status is not None) > 1:
            raise ValueError("only one of refuse, refuse_softly and status can be set in one rule")
        return self


class Behaviour(BaseModel):
    """Every setting of the simulated supplier; by default it accepts everything at once.

    The rates share one throw of the dice for each request, so together they are at most 1.
    """

    model_config = _STRICT

    latency: Seconds = Field(default=0, description="seconds before every answer")
    latency_jitter: Seconds = Field(default=0, description="up to so many seconds more, at random")
    failure_rate: Rate = Field(default=0, description="share answered 500")
    refusal_rate: Rate = Field(default=0, description="share answered 422 with a reason")
    timeout_rate: Rate = Field(default=0, description="share never answered: waits until the client gives up")
    reset_rate: Rate = Field(default=0, description="share whose TCP connection is reset instead of an answer")
    cut_rate: Rate = Field(default=0, description="share dispatched whose answer breaks off in the middle")
    throttle_rate: Rate = Field(default=0, description="share answered 429")
    dispatch_before_failure: bool = Field(default=False, description="a 500 of a rate or a fail_first has dispatched")
    dispatch_before_timeout: bool = Field(default=False, description="a request never answered has dispatched")
    dispatch_before_reset: bool = Field(default=False, description="a request cut off by a reset has dispatched")
    retry_after: int | None = Field(default=1, ge=0, description="seconds, sent with 429 and 503")
    retry_after_as_date: bool = Field(default=False, description="Retry-After as an HTTP date instead of seconds")
    outage: bool = Field(default=False, description="503 to every dispatch, whatever the rules say")
    honour_idempotency: bool = Field(default=True, description="false: a repeated key is dispatched again")
    seed: int | None = Field(default=None, description="the same key and try meet the same fate in every run")
    rules: tuple[Rule, ...] = Field(default=(), description="the first enabled rule matching the order id decides")

    @model_validator(mode="after")
    def _rates_fit_together(self) -> Self:
        rates = (self.failure_rate, self.refusal_rate, self.timeout_rate)
        total = sum(rates) + self.reset_rate + self.cut_rate + self.throttle_rate
        if total > 1 + 1e-9:  # tenths do not add up exactly
            raise ValueError(f"the rates add up to {total:g}, more than 1")
        return self


class Fate(StrEnum):
    """What a request that keeps the contract meets."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    REFUSE_SOFTLY = "refuse softly"
    FAIL = "fail"
    THROTTLE = "throttle"
    UNAVAILABLE = "unavailable"
    FIXED_STATUS = "fixed status"
    TIMEOUT = "timeout"
    RESET = "reset"
    CUT = "cut"


class Decision(NamedTuple):
    """A fate, whether the order is dispatched, seconds to wait before the answer, and the status of FIXED_STATUS."""

    fate: Fate
    dispatches: bool = False
    delay: float = 0
    status: int = 0


def decide(
    behaviour: Behaviour, order_id: str, *, request_number: int, already_dispatched: bool, random: Random
) -> Decision:
    """What the request meets that is the `request_number`th (from 1) of its idempotency key.

    `already_dispatched`: the supplier remembers a dispatch under this key. It stands by it: no refusal any more.
    """
    rule = next((rule for rule in behaviour.rules if rule.enabled and fnmatchcase(order_id, rule.match)), None)
    delay = _delay(behaviour, rule, random)
    if behaviour.outage:
        return Decision(Fate.UNAVAILABLE, delay=delay)
    if rule is not None and rule.status is not None and request_number > rule.fail_first:
        return Decision(Fate.FIXED_STATUS, dispatches=rule.status < 300, delay=delay, status=rule.status)
    fate = _fate_by_chance(behaviour, random) if rule is None else _fate_by_rule(rule, request_number)
    if already_dispatched and fate in (Fate.REFUSE, Fate.REFUSE_SOFTLY):
        fate = Fate.ACCEPT
    return Decision(fate, dispatches=_dispatches(behaviour, fate), delay=delay)


def dice(behaviour: Behaviour, key: str, request_number: int, unseeded: Random) -> Random:
    """The generator to decide with: with a seed its throws depend on key and try alone, not on who came first."""
    if behaviour.seed is None:
        return unseeded
    return Random(f"{behaviour.seed}/{key}/{request_number}")  # noqa: S311  chance, not secrecy


def read_behaviour(settings: object, base: Behaviour | None = None) -> Behaviour:
    """The behaviour that a mapping of settings describes; what it does not name is as in `base`, or the default.

    Raises WrongBehaviour, naming every wrong setting.
    """
    if not isinstance(settings, Mapping):
        raise WrongBehaviour(f"the behaviour must be an object of settings, not {type(settings).__name__}")
    try:
        return Behaviour.model_validate({**(base.model_dump() if base else {}), **settings})
    except ValidationError as error:
        raise WrongBehaviour("; ".join(_sentences(error))) from error


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for wrong in error.errors(include_url=False):
        where = ".".join(str(part) for part in wrong["loc"])
        if wrong["type"] == "extra_forbidden":
            sentences.append(f"{where}: there is no such setting")
        elif wrong["type"] == "value_error":  # our own sentence, which pydantic prefixes
            said = str(wrong["ctx"]["error"])
            sentences.append(f"{where}: {said}" if where else said)
        elif wrong["type"] == "missing":
            sentences.append(f"{where}: missing")
        else:
            said = wrong["msg"].removeprefix("Input ")
            sentences.append(f"{where}: {said}, not {wrong['input']!r}")
    return sentences


def _delay(behaviour: Behaviour, rule: Rule | None, random: Random) -> float:
    if rule is not None and rule.latency is not None:
        return rule.latency
    if behaviour.latency_jitter:
        return behaviour.latency + random.uniform(0, behaviour.latency_jitter)
    return behaviour.latency


def _fate_by_rule(rule: Rule, request_number: int) -> Fate:
    if request_number <= rule.fail_first:
        return Fate.FAIL
    if rule.refuse:
        return Fate.REFUSE
    return Fate.REFUSE_SOFTLY if rule.refuse_softly else Fate.ACCEPT


def _fate_by_chance(behaviour: Behaviour, random: Random) -> Fate:
    throw = random.random()
    for share, fate in (
        (behaviour.failure_rate, Fate.FAIL),
        (behaviour.refusal_rate, Fate.REFUSE),
        (behaviour.timeout_rate, Fate.TIMEOUT),
        (behaviour.reset_rate, Fate.RESET),
        (behaviour.cut_rate, Fate.CUT),
        (behaviour.throttle_rate, Fate.THROTTLE),
    ):
        if throw < share:
            return fate
        throw -= share
    return Fate.ACCEPT


def _dispatches(behaviour: Behaviour, fate: Fate) -> bool:
    return (
        fate in (Fate.ACCEPT, Fate.CUT)
        or (fate is Fate.FAIL and behaviour.dispatch_before_failure)
        or (fate is Fate.TIMEOUT and behaviour.dispatch_before_timeout)
        or (fate is Fate.RESET and behaviour.dispatch_before_reset)
    )
