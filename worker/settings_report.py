"""Every setting for showing: its value without secrets, where it comes from, and what is wrong with it."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pydantic import SecretStr, ValidationError

from worker.domain.durations import format_duration
from worker.domain.retry import Delay
from worker.finding import Finding, Verdict
from worker.private_stack import private_environment
from worker.secret_files import PREFIX, SECRETS, file_variable, read_secret_files
from worker.settings import Settings, unknown_variables

_FILE_OPTIONS = {"cafile", "certfile", "keyfile", "tlsCAFile", "tlsCertificateKeyFile"}
_HARMLESS_OPTIONS = {"replicaSet", "directConnection", "authSource", "tls", "ssl", "w", "heartbeat", *_FILE_OPTIONS}


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting as `logistics doctor` shows it."""

    variable: str
    value: str | None
    """As one writes it, secrets masked; None when it is not set or wrong."""
    source: str
    """`set`, `file`, `default` or `private stack`."""
    verdict: Verdict
    text: str
    """What is wrong with it; what it is for when nothing is."""
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class SettingsReport:
    """The settings that can be used, each wrong one replaced by its default, and a line about each."""

    settings: Settings
    lines: Sequence[SettingLine]
    unknown: Sequence[Finding]


def report_settings(environment: Mapping[str, str]) -> SettingsReport:
    """Return every setting of an environment, the wrong ones among them. Raises nothing for a wrong one."""
    private, usable, lines = private_environment(environment), {}, []
    secrets = read_secret_files(environment)
    for name in Settings.model_fields:
        given = secrets.environment.get(_variable(name), "").strip()
        found = private.get(_variable(name))
        value, source = (given, "file" if name in secrets.read else "set") if given else (found, "private stack")
        problem = None if value is None else _complaint(name, value)
        if file_variable(name) in secrets.problems:
            problem, source = f"{file_variable(name)}: {secrets.problems[file_variable(name)]}", "file"
        if value is not None and problem is None:
            usable[name] = value
        lines.append((name, "default" if value is None and problem is None else source, problem))
    settings = Settings.model_validate(usable)
    return SettingsReport(
        settings,
        [_line(settings, name, source, problem) for name, source, problem in lines],
        [_unknown(variable) for variable in unknown_variables(environment)],
    )


def masked(address: str) -> str:
    """Return an address without its password, and without the values of options that might be secret.

    Everything before the last @ counts as user and password: an address whose password is not written as it should
    be must not show a part of it either.
    """
    scheme, _, rest = address.partition("://")
    login, at, rest = rest.rpartition("@")
    user = f"{login.partition(':')[0]}:***" if ":" in login else "***"
    place, question, query = rest.partition("?")
    options = "&".join(
        f"{name}={value if name in _HARMLESS_OPTIONS else '***'}"
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return f"{scheme}://{user if at else ''}{at}{place}{question}{options}"


def _line(settings: Settings, name: str, source: str, problem: str | None) -> SettingLine:
    variable, purpose = _variable(name), Settings.model_fields[name].description or ""
    if problem is not None:
        return SettingLine(variable, None, source, Verdict.PROBLEM, problem, purpose or "correct it, or remove it")
    value = getattr(settings, name)
    if value is None and name in SECRETS:
        advice = "set it, or start private servers with 'make up' in this folder"
        return SettingLine(variable, None, source, Verdict.PROBLEM, "is not set", advice)
    return SettingLine(variable, _shown(name, value), source, Verdict.OK, purpose)


def _shown(name: str, value: Any) -> str | None:
    if isinstance(value, SecretStr):
        return masked(value.get_secret_value())
    if isinstance(value, tuple):
        return ",".join(part.label if isinstance(part, Delay) else str(part) for part in value) or None
    if _is_duration(name):
        return format_duration(value)
    return None if value is None else str(value)


def _is_duration(name: str) -> bool:
    return Settings.model_fields[name].annotation is float


def _complaint(name: str, value: str) -> str | None:
    """Return what is wrong with the value of one setting, None when nothing is."""
    try:
        Settings.model_validate({name: value})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(problem["msg"].removeprefix("Value error, ") for problem in problems)
    return None


def _unknown(variable: str) -> Finding:
    known = [name.upper() for name in (*Settings.model_fields, *(f"{name}_file" for name in SECRETS))]
    close = difflib.get_close_matches(variable.removeprefix(PREFIX).upper(), known, n=1)
    advice = f"did you mean {PREFIX}{close[0]}?" if close else "remove it, or correct its name"
    return Finding("settings", Verdict.WARNING, f"{variable} is set, but nothing reads it", advice)


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"
