"""Guessing passwords is slow, for one name, from one address and from many, and locks nobody out for long."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.console.access.throttle import Throttle
from infra.console.errors import TooManyTriesError


class Guesses:
    """Somebody who guesses for a time, as fast as the throttle lets them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.throttle = Throttle(clock=lambda: self.now)

    def looked_at(self, name: str, address: str) -> bool:
        try:
            self.throttle.begin(name, address)
        except TooManyTriesError:
            return False
        return True

    def in_a_day(self, who: "itertools.cycle[tuple[str, str]]") -> int:
        """How many are looked at of a try every five seconds."""
        count = 0
        for self.now in range(0, 86_400, 5):
            count += self.looked_at(*next(who))
        return count


def test_five_wrong_passwords_are_no_reason_to_wait_and_the_pauses_double() -> None:
    guesses = Guesses()
    assert [guesses.looked_at("anna", "10.0.0.1") for _ in range(6)] == [True] * 5 + [False]
    waits = []
    for _ in range(11):
        with pytest.raises(TooManyTriesError) as caught:
            guesses.throttle.begin("anna", "10.0.0.1")
        waits.append(caught.value.retry_after)
        guesses.now += caught.value.retry_after
        assert guesses.looked_at("anna", "10.0.0.1")
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_one_address_gets_a_hundred_guesses_a_day_whatever_names_it_tries() -> None:
    one_name = Guesses().in_a_day(itertools.cycle([("anna", "10.0.0.1")]))
    many_names = Guesses().in_a_day(itertools.cycle([(f"user{n}", "10.0.0.1") for n in range(1000)]))
    assert 90 <= one_name <= 120
    assert 90 <= many_names <= 140


def test_an_ipv6_subscriber_is_one_address() -> None:
    addresses = [f"2001:db8:0:7:{n:x}::1" for n in range(1, 1000)]
    assert Guesses().in_a_day(itertools.cycle([(f"user{n}", a) for n, a in enumerate(addresses)])) <= 140


def test_many_addresses_get_one_guess_in_half_a_minute_for_a_name_and_the_person_waits_no_longer() -> None:
    guesses = Guesses()
    addresses = itertools.cycle([("anna", f"10.0.{n // 250}.{n % 250}") for n in range(20_000)])
    assert guesses.in_a_day(addresses) <= 86_400 / 30 + 100
    guesses.now += 30
    assert guesses.looked_at("anna", "192.0.2.1")


def test_many_at_once_are_counted_before_any_has_ended() -> None:
    guesses = Guesses()
    assert sum(guesses.looked_at("anna", "10.0.0.1") for _ in range(1000)) == 5


def test_who_knows_the_password_is_not_counted() -> None:
    guesses = Guesses()
    for _ in range(200):
        assert guesses.looked_at("anna", "10.0.0.1")
        guesses.throttle.succeeded("anna", "10.0.0.1")


def test_a_colleague_behind_the_same_address_is_not_stopped_by_one_who_forgot_a_password() -> None:
    guesses = Guesses()
    for _ in range(10):
        guesses.looked_at("ben", "10.0.0.1")
    assert guesses.looked_at("anna", "10.0.0.1")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["10.0.0.1", "10.0.0.2", "nonsense"])), max_size=60))
def test_after_an_hour_of_quiet_everything_is_forgotten(tries: list[tuple[str, str]]) -> None:
    guesses = Guesses()
    for name, address in tries:
        guesses.looked_at(name, address)
    guesses.now += 3601
    assert all(guesses.looked_at(name, address) for name, address in dict.fromkeys(tries))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.console.access.throttle._MOST", 30)
    guesses = Guesses()
    for number in range(1000):
        guesses.looked_at(f"user{number}", "10.0.0.1")
    assert len(guesses.throttle._tries) <= 30
    assert not guesses.looked_at("somebody", "10.0.0.1")  # the address itself is not forgotten


def test_tries_that_are_refused_push_nobody_else_s_count_out() -> None:
    guesses = Guesses()
    while guesses.looked_at("anna", "10.0.0.1"):
        pass
    while guesses.looked_at(f"nobody-{next(_names)}", "10.0.0.2"):
        pass
    for _ in range(30_000):
        assert not guesses.looked_at(f"nobody-{next(_names)}", "10.0.0.2")
    assert not guesses.looked_at("anna", "10.0.0.1")


_names = itertools.count()
