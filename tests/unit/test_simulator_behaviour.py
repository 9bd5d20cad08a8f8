"""The simulated supplier's settings and decisions."""

from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.supplier.simulator_behaviour import (
    Behaviour,
    Decision,
    Fate,
    WrongBehaviour,
    decide,
    dice,
    read_behaviour,
)

RATES = {
    "failure_rate": Fate.FAIL,
    "refusal_rate": Fate.REFUSE,
    "timeout_rate": Fate.TIMEOUT,
    "reset_rate": Fate.RESET,
    "cut_rate": Fate.CUT,
    "throttle_rate": Fate.THROTTLE,
}


def decide_for(
    settings: Mapping[str, object], order_id: str = "A-1", *, request_number: int = 1, already_dispatched: bool = False
) -> Decision:
    return decide(
        read_behaviour(settings),
        order_id,
        request_number=request_number,
        already_dispatched=already_dispatched,
        random=Random(1),
    )


def rule(**settings: object) -> dict[str, object]:
    return {"rules": [{"match": "A-*", **settings}]}


def test_by_default_everything_is_accepted_at_once() -> None:
    assert decide_for({}) == Decision(Fate.ACCEPT, dispatches=True, delay=0)


@pytest.mark.parametrize(("setting", "fate"), RATES.items())
def test_a_rate_of_one_decides_every_request(setting: str, fate: Fate) -> None:
    assert decide_for({setting: 1}).fate is fate


def test_rates_are_the_shares_of_what_happens() -> None:
    behaviour = read_behaviour(dict.fromkeys(RATES, 0.1))
    random = Random(7)
    fates = Counter(
        decide(behaviour, "A-1", request_number=1, already_dispatched=False, random=random).fate for _ in range(10_000)
    )
    assert fates.pop(Fate.ACCEPT) == pytest.approx(4_000, rel=0.1)
    assert fates == {fate: pytest.approx(1_000, rel=0.15) for fate in RATES.values()}


@given(st.lists(st.sampled_from([0.05, 0.1, 1 / 7]), min_size=6, max_size=6), st.integers())
def test_a_fate_whose_rate_is_zero_never_happens(rates: list[float], seed: int) -> None:
    settings = dict(zip(RATES, rates, strict=True)) | {"timeout_rate": 0}
    decision = decide(read_behaviour(settings), "A-1", request_number=1, already_dispatched=False, random=Random(seed))
    assert decision.fate is not Fate.TIMEOUT


@pytest.mark.parametrize("breaking", ["failure", "timeout", "reset"])
@pytest.mark.parametrize("dispatched", [True, False])
def test_whether_a_broken_request_has_dispatched_is_a_setting(breaking: str, dispatched: bool) -> None:
    settings = {f"{breaking}_rate": 1, f"dispatch_before_{breaking}": dispatched}
    assert decide_for(settings).dispatches is dispatched


def test_an_answer_cut_in_the_middle_is_the_answer_to_a_dispatch() -> None:
    assert decide_for({"cut_rate": 1}).dispatches


@pytest.mark.parametrize("setting", ["refusal_rate", "throttle_rate"])
def test_what_the_supplier_does_not_take_is_not_dispatched(setting: str) -> None:
    assert not decide_for({setting: 1}).dispatches


def test_latency_is_fixed_unless_jitter_is_set() -> None:
    assert decide_for({"latency": 0.2}).delay == 0.2


@given(st.floats(0, 5), st.floats(0, 5), st.integers())
def test_jitter_only_lengthens(latency: float, jitter: float, seed: int) -> None:
    behaviour = Behaviour(latency=latency, latency_jitter=jitter)
    delay = decide(behaviour, "A-1", request_number=1, already_dispatched=False, random=Random(seed)).delay
    assert latency <= delay <= latency + jitter


def test_an_outage_comes_before_rules_and_rates() -> None:
    assert decide_for({"outage": True, "failure_rate": 1, **rule(status=201)}) == Decision(Fate.UNAVAILABLE)


def test_a_rule_without_a_verdict_accepts_whatever_the_rates() -> None:
    assert decide_for({"failure_rate": 1, **rule()}).fate is Fate.ACCEPT


def test_a_rule_leaves_other_orders_to_the_rates() -> None:
    assert decide_for({"failure_rate": 1, **rule()}, "B-1").fate is Fate.FAIL


def test_the_glob_of_a_rule_minds_the_case() -> None:
    assert decide_for(rule(refuse=True), "a-1").fate is Fate.ACCEPT


def test_a_rule_fails_the_first_requests_of_a_key_and_then_accepts() -> None:
    fates = [decide_for(rule(fail_first=2), request_number=number).fate for number in (1, 2, 3)]
    assert fates == [Fate.FAIL, Fate.FAIL, Fate.ACCEPT]


def test_the_verdict_of_a_rule_comes_after_its_failures() -> None:
    failed, then = (decide_for(rule(fail_first=1, status=418), request_number=number) for number in (1, 2))
    assert failed.fate is Fate.FAIL
    assert then == Decision(Fate.FIXED_STATUS, status=418)


@pytest.mark.parametrize(("verdict", "fate"), [("refuse", Fate.REFUSE), ("refuse_softly", Fate.REFUSE_SOFTLY)])
def test_a_rule_can_refuse(verdict: str, fate: Fate) -> None:
    assert decide_for(rule(**{verdict: True})) == Decision(fate)


@pytest.mark.parametrize("settings", [{"refusal_rate": 1}, rule(refuse=True), rule(refuse_softly=True)])
def test_a_supplier_that_has_dispatched_does_not_refuse_afterwards(settings: dict[str, object]) -> None:
    assert decide_for(settings, already_dispatched=True).fate is Fate.ACCEPT


@pytest.mark.parametrize(("status", "dispatches"), [(200, True), (204, True), (302, False), (400, False), (503, False)])
def test_a_fixed_status_dispatches_if_it_says_so(status: int, dispatches: bool) -> None:
    assert decide_for(rule(status=status)).dispatches is dispatches


def test_the_latency_of_a_rule_replaces_the_general_one() -> None:
    settings = {"latency": 5, "latency_jitter": 5, **rule(latency=0.1)}
    assert decide_for(settings).delay == 0.1
    assert decide_for(settings, "B-1").delay >= 5


def test_the_first_enabled_rule_that_matches_decides() -> None:
    rules = [
        {"match": "A-*", "enabled": False, "refuse": True},
        {"match": "A-?", "status": 202},
        {"match": "*", "status": 404},
    ]
    assert decide_for({"rules": rules}, "A-1").status == 202
    assert decide_for({"rules": rules}, "A-10").status == 404


def test_with_a_seed_the_fate_of_a_try_does_not_depend_on_who_came_first() -> None:
    behaviour = read_behaviour({"failure_rate": 0.5, "seed": 3})

    def fates(keys: list[str]) -> dict[str, float]:
        return {key: dice(behaviour, key, 1, Random()).random() for key in keys}

    keys = [f"key-{number}" for number in range(50)]
    assert fates(keys) == fates(keys[::-1])
    assert len(set(fates(keys).values())) == 50


def test_without_a_seed_the_given_generator_throws() -> None:
    unseeded = Random(5)
    assert dice(Behaviour(), "key", 1, unseeded) is unseeded


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"failure_rte": 0.1}, "failure_rte: there is no such setting"),
        ({"failure_rate": 1.5}, "failure_rate: should be less than or equal to 1, not 1.5"),
        ({"latency": -1}, "latency: should be greater than or equal to 0, not -1"),
        ({"latency": float("nan")}, "latency: should be a finite number, not nan"),
        ({"failure_rate": 0.7, "cut_rate": 0.7}, "the rates add up to 1.4, more than 1"),
        ({"rules": [{"refuse": True}]}, "rules.0.match: missing"),
        (
            {"rules": [{"match": "*", "refuse": True, "status": 500}]},
            "rules.0: only one of refuse, refuse_softly and status can be set in one rule",
        ),
        ([], "the behaviour must be an object of settings, not list"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(settings: object, sentence: str) -> None:
    with pytest.raises(WrongBehaviour) as refused:
        read_behaviour(settings)
    assert str(refused.value) == sentence


def test_every_wrong_setting_is_named() -> None:
    with pytest.raises(WrongBehaviour, match=r"^latency: .*; cut_rate: .*$"):
        read_behaviour({"latency": "soon", "cut_rate": 2})


def test_tenths_that_add_up_to_one_are_accepted() -> None:
    assert read_behaviour(dict.fromkeys(RATES, 0.1) | {"failure_rate": 0.5}).failure_rate == 0.5


def test_a_change_keeps_what_it_does_not_name() -> None:
    base = read_behaviour({"latency": 1, **rule(refuse=True)})
    changed = read_behaviour({"outage": True}, base=base)
    assert (changed.latency, changed.outage, changed.rules) == (1, True, base.rules)
