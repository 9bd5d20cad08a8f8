"""Addresses with passwords, given by the name of a file."""

from pathlib import Path

import pytest

from tests.unit.test_settings import ADDRESSES, SECRET
from worker.domain.errors import ConfigurationError
from worker.finding import Verdict
from worker.secret_files import SECRETS
from worker.settings import load_settings, unknown_variables
from worker.settings_report import SettingLine, report_settings

NOWHERE = {"LOGISTICS_DATA_DIR": "/nonexistent"}


def by_files(folder: Path, **contents: bytes) -> dict[str, str]:
    """An environment in which each of these settings is given by a file."""
    environment = dict(NOWHERE)
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        environment[f"LOGISTICS_{name.upper()}_FILE"] = str(path)
    return environment


def shown(environment: dict[str, str]) -> dict[str, SettingLine]:
    return {line.variable: line for line in report_settings(environment).lines}


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \n\n"])
def test_an_address_may_be_in_a_file_whose_last_line_break_does_not_count(tmp_path: Path, end: str) -> None:
    contents = {name: f"{ADDRESSES[f'LOGISTICS_{name.upper()}']}{end}".encode() for name in SECRETS}
    environment = by_files(tmp_path, **contents)
    settings = load_settings(environment)
    assert all(settings.required(name) == ADDRESSES[f"LOGISTICS_{name.upper()}"] for name in SECRETS)
    assert unknown_variables(environment) == []
    lines = shown(environment)
    assert [lines[variable].source for variable in ADDRESSES] == ["file"] * 3
    assert SECRET not in str(lines)


def test_a_byte_order_mark_is_no_part_of_the_secret(tmp_path: Path) -> None:
    environment = by_files(tmp_path, amqp_url=b"\xef\xbb\xbf" + ADDRESSES["LOGISTICS_AMQP_URL"].encode())
    assert load_settings(environment).required("amqp_url") == ADDRESSES["LOGISTICS_AMQP_URL"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"amqp://user:Zq7Xw@rabbit\namqp://user:Zq7Xw@other\n", "the file has more than one line"),
        (b"amqp://user:Zq7Xw\xff@rabbit", "the file is not UTF-8 text"),
        (b"amqp://" + b"x" * 70_000, "the file has more than 65536 bytes"),
    ],
)
def test_a_file_that_holds_no_secret_is_one_line_and_never_repeated(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    environment = by_files(tmp_path, amqp_url=content or b"")
    if content is None:
        (tmp_path / "amqp_url").unlink()
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment)
    assert str(caught.value) == f"wrong setting: LOGISTICS_AMQP_URL_FILE: {told}"
    line = shown(environment)["LOGISTICS_AMQP_URL"]
    assert (line.verdict, line.source, line.value) == (Verdict.PROBLEM, "file", None)
    assert line.text == f"LOGISTICS_AMQP_URL_FILE: {told}"


def test_an_address_and_its_file_at_once_are_a_mistake(tmp_path: Path) -> None:
    environment = {**by_files(tmp_path, amqp_url=b"amqp://a"), "LOGISTICS_AMQP_URL": "amqp://b"}
    with pytest.raises(ConfigurationError, match="LOGISTICS_AMQP_URL_FILE: is set, and so is LOGISTICS_AMQP_URL: "):
        load_settings(environment)
    assert shown(environment)["LOGISTICS_AMQP_URL"].verdict is Verdict.PROBLEM
    assert load_settings({**environment, "LOGISTICS_AMQP_URL": " "}).required("amqp_url") == "amqp://a"
    assert load_settings({**environment, "LOGISTICS_AMQP_URL_FILE": ""}).required("amqp_url") == "amqp://b"


def test_a_wrong_address_in_a_file_is_told_under_its_own_name_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(by_files(tmp_path, supplier_url=b"https://user:Zq7Xw@"))
    assert str(caught.value).startswith("wrong setting: LOGISTICS_SUPPLIER_URL: write it as http://host")
    assert "Zq7Xw" not in str(caught.value)


def test_a_secret_given_as_the_name_of_its_file_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**NOWHERE, "LOGISTICS_AMQP_URL_FILE": "amqp://user:Zq7Xw@rabbit"})
    assert "Zq7Xw" not in str(caught.value)


def test_a_mistyped_file_variable_is_a_warning_with_a_guess() -> None:
    [found] = report_settings({**NOWHERE, "LOGISTICS_AMQP_URL_FIEL": "x"}).unknown
    assert found.advice == "did you mean LOGISTICS_AMQP_URL_FILE?"
