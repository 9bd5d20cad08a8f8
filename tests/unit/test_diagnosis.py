"""What the doctor says of settings, durations and differences: the parts without a server."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.rabbitmq.topology_check import Difference
from worker.finding import Finding, Verdict
from worker.settings import Settings, load_settings
from worker.settings_report import SettingLine, masked, report_settings
from worker.timing_check import check_timing
from worker.topology_remedy import in_words, remedy

NOWHERE = {"LOGISTICS_DATA_DIR": "/nonexistent"}
DELAYS = ("1s", "5s", "30s")


def lines(**variables: str) -> dict[str, SettingLine]:
    environment = {**NOWHERE, **{f"LOGISTICS_{name}": value for name, value in variables.items()}}
    return {line.variable.removeprefix("LOGISTICS_"): line for line in report_settings(environment).lines}


def timing(**variables: str) -> list[Finding]:
    return check_timing(load_settings({**NOWHERE, **{f"LOGISTICS_{name}": value for name, value in variables.items()}}))


def test_every_setting_has_a_line_with_its_value_and_where_it_comes_from() -> None:
    shown = lines(AMQP_URL="amqp://shop:s3cret@broker:5672/orders", RETRY_DELAYS="1s, 90s", MAX_AGE="2h")
    assert set(shown) == {name.upper() for name in Settings.model_fields}
    assert (shown["AMQP_URL"].value, shown["AMQP_URL"].source) == ("amqp://shop:***@broker:5672/orders", "set")
    assert (shown["RETRY_DELAYS"].value, shown["RETRY_DELAYS"].source) == ("1s,90s", "set")
    assert (shown["MAX_AGE"].value, shown["SUPPLIER_TIMEOUT"].value) == ("2h", "10s")
    assert (shown["PREFETCH"].value, shown["PREFETCH"].source) == ("100", "default")


def test_a_server_without_an_address_is_a_problem_and_an_empty_variable_is_no_address() -> None:
    shown = lines(AMQP_URL="  ")
    assert {name for name, line in shown.items() if line.verdict is Verdict.PROBLEM} == {
        "AMQP_URL",
        "MONGODB_URI",
        "SUPPLIER_URL",
    }
    assert shown["AMQP_URL"].text == "is not set"


def test_a_wrong_setting_is_one_line_and_the_others_are_used_all_the_same() -> None:
    environment = {**NOWHERE, "LOGISTICS_PREFETCH": "many", "LOGISTICS_MAX_AGE": "2x", "LOGISTICS_MAX_ATTEMPTS": "4"}
    report = report_settings(environment)
    wrong = {line.variable: line for line in report.lines if line.verdict is Verdict.PROBLEM and line.source == "set"}
    assert set(wrong) == {"LOGISTICS_PREFETCH", "LOGISTICS_MAX_AGE"}
    assert "valid integer" in wrong["LOGISTICS_PREFETCH"].text
    assert all(line.value is None and "\n" not in line.text for line in wrong.values())
    assert (report.settings.prefetch, report.settings.max_attempts) == (100, 4)


def test_a_wrong_address_is_not_repeated() -> None:
    line = lines(AMQP_URL="shop:s3cret@broker:5672")["AMQP_URL"]
    assert (line.verdict, line.value) == (Verdict.PROBLEM, None)
    assert "s3cret" not in f"{line.text}{line.advice}"


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("LOGISTICS_PREFTCH", "did you mean LOGISTICS_PREFETCH?"),
        ("LOGISTICS_SUPLIER_URL", "did you mean LOGISTICS_SUPPLIER_URL?"),
        ("LOGISTICS_breaker_recovery_timeout", "did you mean LOGISTICS_BREAKER_RECOVERY_TIMEOUT?"),
        ("LOGISTICS_WHATEVER", "remove it, or correct its name"),
    ],
)
def test_a_variable_that_nothing_reads_is_a_warning_with_a_guess(variable: str, advice: str) -> None:
    [found] = report_settings({**NOWHERE, variable: "7"}).unknown
    assert (found.verdict, found.advice) == (Verdict.WARNING, advice)
    assert variable in found.text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("amqp://broker", "amqp://broker"),
        ("amqp://user@broker/%2F", "amqp://***@broker/%2F"),
        ("amqp://user:p@ss/w?rd@broker:5672/", "amqp://user:***@broker:5672/"),
        ("mongodb://u:p@a:1,b:2/?replicaSet=rs0", "mongodb://u:***@a:1,b:2/?replicaSet=rs0"),
        ("mongodb://a/?tlsCertificateKeyFilePassword=x&w=1", "mongodb://a/?tlsCertificateKeyFilePassword=***&w=1"),
        ("https://supplier/api?key=abc", "https://supplier/api?key=***"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(address: str, shown: str) -> None:
    assert masked(address) == shown


@given(st.text(alphabet=string.ascii_letters + string.digits + "@:/?#[]%&=+ ", min_size=1, max_size=20))
def test_no_password_survives_masking(noise: str) -> None:
    password = f"Zq{noise}Qz"
    for address in (f"amqp://user:{password}@broker:5672/v", f"mongodb://user:{password}@a,b/?replicaSet=rs0"):
        assert "Zq" not in masked(address)
        assert "Qz" not in masked(address)


def test_the_defaults_raise_no_doubt() -> None:
    [schedule] = timing()
    assert schedule.verdict is Verdict.OK
    assert schedule.text.startswith("an order that fails is tried 6 times within at least 12 min 36 s;")


def test_more_attempts_than_delays_repeat_the_last_delay() -> None:
    assert "3 times within at least 20 s" in timing(RETRY_DELAYS="10s", MAX_ATTEMPTS="3")[0].text
    assert "is tried once;" in timing(RETRY_DELAYS="10s", MAX_ATTEMPTS="1")[0].text


@pytest.mark.parametrize(
    ("variables", "verdict", "word"),
    [
        ({"SUPPLIER_TIMEOUT": "31s"}, Verdict.WARNING, "LOGISTICS_DRAIN_TIMEOUT"),
        ({"SUPPLIER_TIMEOUT": "30m", "DRAIN_TIMEOUT": "1h"}, Verdict.WARNING, "consumer_timeout"),
        ({"MAX_AGE": "5m"}, Verdict.WARNING, "LOGISTICS_MAX_AGE"),
        ({"BREAKER_RECOVERY_TIMEOUT": "11m"}, Verdict.NOTE, "LOGISTICS_RETRY_DELAYS"),
        ({"MAX_ATTEMPTS": "5"}, Verdict.NOTE, "wait in 10m"),
    ],
)
def test_durations_that_do_not_fit_together_are_told(variables: dict[str, str], verdict: Verdict, word: str) -> None:
    _, found = timing(**variables)
    assert found.verdict is verdict
    assert word in f"{found.text} {found.advice}"


def test_a_missing_thing_is_declared_and_nothing_else() -> None:
    missing = Difference("orders.dlq", "is missing")
    assert in_words(missing) == "orders.dlq is missing"
    assert remedy(missing, delays=DELAYS, differing=[missing]).startswith("run 'logistics topology declare'")


def test_a_delay_queue_that_differs_may_be_emptied_or_given_up() -> None:
    wrong = Difference("orders.retry.5s", "queue orders.retry.5s: x-message-ttl should be 5000, but is 7000")
    text = remedy(wrong, delays=DELAYS, differing=[wrong, Difference("orders.retry.1s", "is missing")])
    assert in_words(wrong) == wrong.problem
    assert "delete_queue orders.retry.5s" in text
    assert "WARNING: messages that are still in it then are lost unless you move them first" in text
    assert text.endswith("LOGISTICS_RETRY_DELAYS=1s,30s")


def test_a_delay_of_delivery_notices_that_differs_is_given_up_for_both() -> None:
    wrong = Difference("shipments.retry.5s", "queue shipments.retry.5s: x-message-ttl should be 5000, but is 7000")
    text = remedy(wrong, delays=DELAYS, differing=[wrong])
    assert "its messages return to shipments.delivered when their time is up" in text
    assert "delete_queue shipments.retry.5s" in text
    assert text.endswith("LOGISTICS_RETRY_DELAYS=1s,30s")


def test_a_queue_of_delivery_notices_that_differs_is_emptied_first() -> None:
    wrong = Difference("shipments.delivered", "queue shipments.delivered: x-delivery-limit should be 20, but is 5")
    assert remedy(wrong, delays=DELAYS, differing=[wrong]).startswith("let it run empty (hold the supplier's notices")


def test_a_work_queue_that_differs_has_no_way_round_emptying_it() -> None:
    wrong = Difference("orders.work", "queue orders.work: x-delivery-limit should be 20, but is 5")
    text = remedy(wrong, delays=DELAYS, differing=[wrong])
    assert "run empty" in text
    assert "LOGISTICS_RETRY_DELAYS" not in text


def test_an_exchange_that_differs_holds_nothing() -> None:
    wrong = Difference("orders", "exchange orders: type should be topic, but is direct")
    assert "nothing is stored in an exchange" in remedy(wrong, delays=DELAYS, differing=[wrong])
