"""The settings: read once, checked, and never given away."""

import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.errors import ConfigurationError
from worker.domain.retry import DEFAULT_DELAYS, Delay
from worker.settings import Settings, load_settings, unknown_variables

SECRET = "hunter2-Zq7Xw"
ADDRESSES = {
    "LOGISTICS_AMQP_URL": f"amqp://worker:{SECRET}@rabbit:5672/orders",
    "LOGISTICS_MONGODB_URI": f"mongodb://worker:{SECRET}@one:27017,two:27017/?replicaSet=rs0",
    "LOGISTICS_SUPPLIER_URL": f"https://{SECRET}@supplier.example/api",
}


def settings_of(**changes: str) -> Settings:
    return load_settings({**ADDRESSES, **{f"LOGISTICS_{name}": value for name, value in changes.items()}})


def complaint(**changes: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(**changes)
    return str(caught.value)


def test_without_variables_the_defaults_are_the_design_s() -> None:
    settings = settings_of()
    assert settings.retry_delays == DEFAULT_DELAYS
    assert (settings.max_attempts, settings.prefetch, settings.log_level) == (6, 100, "INFO")
    assert (settings.breaker_failure_threshold, settings.breaker_recovery_timeout) == (3, 10.0)
    assert settings.supplier_timeout == 10.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10.0), ("2m", 120.0), ("7", 7.0), (" 1.5 s ", 1.5)]
)
def test_a_duration_is_written_with_its_unit(text: str, seconds: float) -> None:
    assert settings_of(SUPPLIER_TIMEOUT=text).supplier_timeout == seconds


def test_delays_keep_their_order_and_the_labels_they_were_written_with() -> None:
    delays = settings_of(RETRY_DELAYS="5s, 500ms,60s,1m , 90,").retry_delays
    assert [delay.label for delay in delays] == ["5s", "500ms", "60s", "1m", "90s"]
    assert [delay.seconds for delay in delays] == [5.0, 0.5, 60.0, 60.0, 90.0]


def test_the_retry_policy_is_made_of_the_settings() -> None:
    policy = settings_of(RETRY_DELAYS="1s,2s", MAX_ATTEMPTS="9", MAX_AGE="1h").retry_policy
    assert (policy.delays, policy.max_attempts, policy.max_age) == ((Delay("1s", 1.0), Delay("2s", 2.0)), 9, 3600.0)


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("name", ["SUPPLIER_TIMEOUT", "RETRY_DELAYS", "PREFETCH", "LOG_LEVEL", "HEALTH_ADDR"])
def test_an_empty_variable_counts_as_not_set(name: str, empty: str) -> None:
    assert settings_of(**{name: empty}) == settings_of()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPPLIER_TIMEOUT", "Zq7Xw"),
        ("SUPPLIER_TIMEOUT", "0"),
        ("SUPPLIER_TIMEOUT", "-5s"),
        ("SUPPLIER_TIMEOUT", "99999h"),
        ("STORE_TIMEOUT", "5 Zq7Xw\nforged"),
        ("RETRY_DELAYS", "1s,Zq7Xw"),
        ("RETRY_DELAYS", "1s;5s Zq7Xw"),
        ("RETRY_DELAYS", "0s"),
        ("RETRY_DELAYS", "40d"),
        ("RETRY_DELAYS", ","),
        ("PREFETCH", "many Zq7Xw"),
        ("PREFETCH", "0"),
        ("PREFETCH", "10001"),
        ("MAX_ATTEMPTS", "0"),
        ("MAX_ATTEMPTS", "2.5"),
        ("BREAKER_FAILURE_THRESHOLD", "0"),
        ("BREAKER_RECOVERY_TIMEOUT", "soon Zq7Xw"),
        ("MONGODB_DATABASE", "a/b Zq7Xw"),
        ("LOG_LEVEL", "CHATTY"),
        ("HEALTH_ADDR", "8081"),
        ("HEALTH_ADDR", "localhost:http"),
        ("HEALTH_ADDR", "localhost:65536"),
        ("OPERATOR", "Zq7Xw" * 100),
        ("AMQP_URL", f"http://worker:{SECRET}@rabbit"),
        ("AMQP_URL", f"amqp://worker:{SECRET}#@:x"),
        ("AMQP_URL", f"amqp://worker:{SECRET}@rabbit:port"),
        ("AMQP_URL", f"amqp://worker:{SECRET}@one:5672,two:port"),
        ("AMQP_URL", SECRET),
        ("MONGODB_URI", f"mongodb:{SECRET}"),
        ("SUPPLIER_URL", f"ftp://{SECRET}@supplier"),
    ],
)
def test_a_wrong_value_is_one_clear_line_that_names_the_variable_and_never_the_value(name: str, value: str) -> None:
    said = complaint(**{name: value})
    assert said.startswith(f"wrong setting: LOGISTICS_{name}: ")
    assert said.count("LOGISTICS_") == 1
    assert repr(value) not in said
    assert "Zq7Xw" not in said
    assert "forged" not in said
    assert said.isprintable()


def test_every_wrong_variable_is_named_at_once() -> None:
    said = complaint(PREFETCH="x", SUPPLIER_TIMEOUT="y")
    assert "LOGISTICS_PREFETCH: " in said
    assert "LOGISTICS_SUPPLIER_TIMEOUT: " in said


_secrets = st.text(string.ascii_letters + string.digits + "/@:#?%[]{} \\'\"é", min_size=8, max_size=20)


@given(_secrets.map(lambda text: f"Zq7Xw{text}"), st.sampled_from(["AMQP_URL", "MONGODB_URI", "SUPPLIER_URL"]))
def test_whatever_is_in_a_password_no_complaint_repeats_it(password: str, name: str) -> None:
    scheme = {"AMQP_URL": "amqp", "MONGODB_URI": "mongodb", "SUPPLIER_URL": "http"}[name]
    try:
        settings = settings_of(**{name: f"{scheme}://worker:{password}@host:5672/"})
    except ConfigurationError as error:
        said = str(error)
    else:
        said = repr(settings) + str(settings)
    assert "Zq7Xw" not in said


@pytest.mark.parametrize("show", [repr, str, lambda s: str(s.model_dump()), lambda s: s.model_dump_json()])
def test_secrets_are_never_shown(show: object) -> None:
    assert callable(show)
    assert SECRET not in show(settings_of())


def test_an_address_is_given_to_who_asks_for_it() -> None:
    assert settings_of().required("amqp_url") == ADDRESSES["LOGISTICS_AMQP_URL"]


def test_an_address_that_is_not_set_is_asked_for_by_its_variable() -> None:
    with pytest.raises(ConfigurationError, match="LOGISTICS_AMQP_URL is not set"):
        Settings().required("amqp_url")


def test_the_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings_of().prefetch = 7


def test_variables_that_nobody_reads_are_most_likely_typing_mistakes() -> None:
    environment = {**ADDRESSES, "LOGISTICS_PREFETCHH": "1", "LOGISTICS_MAX_ATTEMPT": "2", "PATH": "/bin"}
    assert unknown_variables(environment) == ["LOGISTICS_MAX_ATTEMPT", "LOGISTICS_PREFETCHH"]
    assert unknown_variables({f"LOGISTICS_{name.upper()}": "" for name in Settings.model_fields}) == []


def test_this_process_own_environment_is_read_when_none_is_given() -> None:
    before = dict(os.environ)
    os.environ.update(ADDRESSES, LOGISTICS_PREFETCH="17")
    try:
        assert load_settings().prefetch == 17
    finally:
        os.environ.clear()
        os.environ.update(before)
