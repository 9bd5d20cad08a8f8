"""The settings: environment variables with the prefix LOGISTICS_, read once, checked, secrets kept secret."""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from infra.rabbitmq.nodes import node_urls
from infra.tls import TlsFiles
from worker.console_settings import ConsoleSettings
from worker.domain.errors import ConfigurationError
from worker.domain.order import DEFAULT_MAX_BODY_BYTES
from worker.domain.retry import DEFAULT_DELAYS, Delay, RetryPolicy
from worker.private_stack import DATA_DIR_VARIABLE, private_environment
from worker.secret_files import PREFIX, SECRETS, file_variable, read_secret_files
from worker.setting_types import Address, LongSeconds, Seconds, without_value


def _to_delays(value: object) -> object:
    if isinstance(value, str):
        return tuple(without_value(Delay.parse, part) for part in value.split(",") if part.strip())
    return value


def _has_scheme(*schemes: str) -> AfterValidator:
    def check(value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        if not _can_be_address(value.get_secret_value(), schemes):
            raise ValueError(
                f"write it as {schemes[0]}://host… ({' or '.join(schemes)}); "
                "in a password, / is %2F, @ is %40, : is %3A, # is %23, ? is %3F"
            )
        return value

    return AfterValidator(check)


def _can_be_address(text: str, schemes: Sequence[str]) -> bool:
    """Look before a client library does: their complaints about an address repeat it, password and all."""
    try:
        parts = urlsplit(text)
        # MongoDB's may name several hosts, which is no port; its driver's complaints are not repeated. RabbitMQ's, too.
        nodes = [] if schemes[0].startswith("mongodb") else node_urls(text)
        has_port_problem = any(urlsplit(node).port == 0 for node in nodes)
        if schemes[0] == "http" and not parts.hostname:
            return False
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.netloc) and not has_port_problem


class Settings(ConsoleSettings):
    """Every setting of the program. Durations are in seconds here and written `500ms`, `10s`, `2m` outside."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    amqp_url: Annotated[
        SecretStr | None,
        _has_scheme("amqp", "amqps"),
        Field(description="amqp://user:password@host:5672/vhost; a cluster's hosts: host:5672,host:5672"),
    ] = None
    mongodb_uri: Annotated[
        SecretStr | None,
        _has_scheme("mongodb", "mongodb+srv"),
        Field(description="mongodb://host:27017/?replicaSet=rs0"),
    ] = None
    mongodb_database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$", description="the database's name")] = (
        "logistics"
    )
    supplier_url: Annotated[
        SecretStr | None, _has_scheme("http", "https"), Field(description="asked at {url}/dispatches")
    ] = None
    supplier_ca_file: Annotated[
        str | None, Field(description="PEM file: whose certificates to trust at an https:// supplier")
    ] = None
    supplier_cert_file: Annotated[
        str | None, Field(description="PEM file: the certificate to show to the supplier")
    ] = None
    supplier_key_file: Annotated[
        str | None, Field(description="PEM file: the key of that certificate, when it is in a file of its own")
    ] = None
    supplier_timeout: Annotated[Seconds, Field(description="for one request to the supplier, in all")] = 10.0
    store_timeout: Annotated[Seconds, Field(description="for one operation of the store, in all")] = 5.0
    prefetch: Annotated[int, Field(ge=1, le=10_000, description="orders handled at once by one worker")] = 100
    processes: Annotated[int, Field(ge=1, le=64, description="worker processes that one 'logistics worker' keeps")] = 1
    retry_delays: Annotated[
        tuple[Delay, ...],
        BeforeValidator(_to_delays),
        Field(min_length=1, description="one delay queue each, in the order they are used"),
    ] = DEFAULT_DELAYS
    max_attempts: Annotated[int, Field(ge=1, le=1000, description="tries in all; the last delay repeats")] = (
        len(DEFAULT_DELAYS) + 1
    )
    max_age: Annotated[Seconds, Field(description="an order refused by an open circuit for this long is given up")] = (
        86400.0
    )
    max_body_bytes: Annotated[int, Field(ge=256, le=16 * 1024 * 1024, description="a larger order is malformed")] = (
        DEFAULT_MAX_BODY_BYTES
    )
    breaker_failure_threshold: Annotated[int, Field(ge=1, description="failures in a row that open the circuit")] = 3
    breaker_recovery_timeout: Annotated[Seconds, Field(description="how long the circuit stays open")] = 10.0
    drain_timeout: Annotated[Seconds, Field(description="on SIGTERM, for what is in flight to finish")] = 30.0
    log_level: Annotated[
        str, BeforeValidator(lambda value: str(value).upper()), Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    ] = "INFO"
    health_addr: Annotated[
        Address | None,
        Field(description="host:port of /livez, /readyz, /metrics; default 127.0.0.1:8081 or a free port"),
    ] = None
    otlp_endpoint: Annotated[
        SecretStr | None,
        _has_scheme("http", "https"),
        Field(description="where spans go: an OpenTelemetry collector, OTLP over HTTP; needs logistics[otel]"),
    ] = None
    discard_retention: Annotated[
        LongSeconds, Field(description="how long a discarded dead letter is kept, then it goes for good")
    ] = 14 * 86400.0
    history_retention: Annotated[
        LongSeconds, Field(description="how long the history of the overview is kept: one sample each 10 s")
    ] = 8 * 86400.0
    replay_overdue: Annotated[
        Seconds, Field(description="a replayed copy that has come to no end for this long is overdue")
    ] = 1800.0
    operator: Annotated[
        str, Field(max_length=100, description="who you are, for the history of dead letters and the audit log")
    ] = ""

    @property
    def retry_policy(self) -> RetryPolicy:
        """The retry policy these settings describe."""
        return RetryPolicy(delays=self.retry_delays, max_attempts=self.max_attempts, max_age=self.max_age)

    @property
    def supplier_tls(self) -> TlsFiles:
        """The files for an https:// supplier."""
        return TlsFiles(ca=self.supplier_ca_file, cert=self.supplier_cert_file, key=self.supplier_key_file)

    def required(self, name: str) -> str:
        """Return the address of a server. Raises ConfigurationError when it is not set."""
        value = getattr(self, name)
        if value is None:
            raise ConfigurationError(
                f"{PREFIX}{name.upper()} is not set: set it, or start private servers with 'make up' in this folder"
            )
        return str(value.get_secret_value())


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment (this process' own when none is given).

    An address may be given by the name of a file that holds it (`worker.secret_files`). When one is not set, what is
    not set is taken from the stack of `make up`, if it runs in this folder. An empty variable counts as not set.
    Raises ConfigurationError naming each wrong variable, never repeating its value.
    """
    secrets = read_secret_files(os.environ if environment is None else environment)
    environment = secrets.environment
    private = {_variable(name) for name in SECRETS}
    if not all(environment.get(variable, "").strip() for variable in private):
        environment = {**private_environment(environment), **_set(environment)}
    given = {
        name: environment[variable] for name in Settings.model_fields if (variable := _variable(name)) in environment
    }
    problems = [f"{variable}: {problem}" for variable, problem in secrets.problems.items()]
    try:
        settings = Settings.model_validate({name: value for name, value in given.items() if value.strip()})
    except ValidationError as error:
        problems += [
            f"{PREFIX}{'.'.join(map(str, problem['loc'][:1])).upper()}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    if problems:
        raise ConfigurationError(f"wrong setting: {'; '.join(problems)}")
    return settings


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _set(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value.strip()}


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the variables with our prefix that no setting reads: most likely typing mistakes."""
    known = {_variable(name) for name in Settings.model_fields} | set(map(file_variable, SECRETS)) | {DATA_DIR_VARIABLE}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
