"""The Dockerfile and the Compose file: what can be known about them without a container engine."""

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from worker.cli import cli
from worker.domain.durations import parse_duration
from worker.secret_files import PREFIX
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = YAML(typ="safe").load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("worker", "supplier", "console")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MONGODB_CHECK = (ROOT / "deploy/mongodb/healthcheck.js").read_text(encoding="utf-8")

each_service = pytest.mark.parametrize("name", sorted(SERVICES))
each_of_ours = pytest.mark.parametrize("name", OURS)


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, comments gone and lines joined."""
    lines = "".join(line for line in DOCKERFILE.splitlines(keepends=True) if not line.startswith("#"))
    joined = lines.replace("\\\n", "").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined) if word]


def last(instruction: str) -> str:
    return [rest for word, rest in instructions() if word == instruction][-1]


def image_health_check() -> list[str]:
    command: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return command


@contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with this status; gives its port and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"orders.work: a reason\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()


def run_check(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    assert command[0] == "python"
    return subprocess.run(
        [sys.executable, *command[1:]],
        env={"http_proxy": "http://127.0.0.1:1", **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_image_is_healthy_when_livez_says_so_and_shows_the_reason_when_not(status: int, code: int) -> None:
    with answering(status) as (port, asked):
        done = run_check(image_health_check(), {"LOGISTICS_HEALTH_ADDR": f"0.0.0.0:{port}"})
    assert (done.returncode, asked) == (code, ["/livez"])
    assert "a reason" in done.stdout


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
@pytest.mark.parametrize(("name", "own_port", "path"), [("supplier", 8090, "/healthz"), ("console", 8080, "/livez")])
def test_supplier_and_console_are_healthy_when_they_say_so(
    name: str, own_port: int, path: str, status: int, code: int
) -> None:
    assert str(SERVICES[name]["ports"][0]).endswith(f":{own_port}")
    protocol, *command = SERVICES[name]["healthcheck"]["test"]
    with answering(status) as (port, asked):
        done = run_check([part.replace(f":{own_port}/", f":{port}/") for part in command], {})
    assert (protocol, done.returncode, asked) == ("CMD", code, [path])


def test_the_console_asks_who_comes_and_is_started_only_where_there_are_users() -> None:
    console = SERVICES["console"]
    settings = {name.removeprefix(PREFIX).lower(): value for name, value in console["environment"].items() if value}
    settings["console_public_url"] = settings["console_public_url"].replace("${CONSOLE_PORT:-8080}", "8080")
    started = Settings(**settings)
    assert started.console_users_file == f"/run/secrets/{console['secrets'][0]}"
    assert COMPOSE["secrets"][console["secrets"][0]] == {"file": "./console-users"}
    assert (console["profiles"], console["build"]["args"]) == (["console"], {"EXTRAS": "console"})
    assert console["environment"]["LOGISTICS_AMQP_URL"] == SERVICES["worker"]["environment"]["LOGISTICS_AMQP_URL"]


def test_a_health_check_fails_when_nobody_listens() -> None:
    assert run_check(image_health_check(), {"LOGISTICS_HEALTH_ADDR": "0.0.0.0:1"}).returncode == 1


def test_the_image_runs_the_worker_as_a_numbered_user_that_is_not_root() -> None:
    user, group = (int(part) for part in last("USER").split(":"))
    assert user >= 1000
    assert group >= 1000
    after = [word for word, _ in instructions()]
    assert "RUN" not in after[len(after) - after[::-1].index("USER") :]
    assert json.loads(last("ENTRYPOINT")) == ["logistics"]
    assert json.loads(last("CMD")) == ["worker"]
    assert last("STOPSIGNAL") == "SIGTERM"


def test_the_image_installs_pinned_packages_and_no_extra() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and " install " in rest]
    assert len(installs) == 2
    assert "--constraint constraints.txt" in installs[0]
    assert "--no-deps ." in installs[1]
    assert not any("[" in rest.partition(" install ")[2] or "--editable" in rest for rest in installs)


def test_the_image_says_the_version_of_the_project_on_a_python_the_project_allows() -> None:
    assert f'org.opencontainers.image.version="{PROJECT["project"]["version"]}"' in DOCKERFILE
    bases = {rest.partition(" ")[0] for word, rest in instructions() if word == "FROM"}
    assert bases == {"python:3.13-slim"}
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"


def test_what_the_image_is_built_from_is_let_in_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    packages = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == packages | {
        "pyproject.toml",
        "constraints.txt",
        PROJECT["project"]["readme"],
    }


@each_service
def test_every_service_is_checked_restarted_and_unprivileged(name: str) -> None:
    service = SERVICES[name]
    assert "healthcheck" in service or service.get("build") == "."  # the image has one
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@each_service
def test_any_service_may_have_neighbours_of_its_name_and_is_published_to_this_machine_alone(name: str) -> None:
    assert "container_name" not in SERVICES[name]
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@each_of_ours
def test_our_services_write_to_no_file_system_but_tmp(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert [mount.partition(":")[0] for mount in SERVICES[name]["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert "volumes" not in SERVICES[name]


def test_the_worker_can_be_scaled() -> None:
    assert not SERVICES["worker"].keys() & {"container_name", "ports", "hostname", "healthcheck"}


def test_images_are_pinned_by_their_major_version() -> None:
    images = {name: service["image"] for name, service in SERVICES.items() if "image" in service}
    assert images == {"rabbitmq": "rabbitmq:4-management", "mongodb": "mongo:8"}


def test_the_worker_waits_for_servers_that_are_healthy() -> None:
    waits = SERVICES["worker"]["depends_on"]
    assert waits.keys() == SERVICES.keys() - {"worker", "console"}
    assert {wait["condition"] for wait in waits.values()} == {"service_healthy"}


def test_the_worker_is_given_more_time_to_stop_than_it_takes_to_drain() -> None:
    assert parse_duration(SERVICES["worker"]["stop_grace_period"]) >= Settings().drain_timeout + 10
    assert "LOGISTICS_DRAIN_TIMEOUT" not in SERVICES["worker"]["environment"]


def test_every_variable_of_ours_is_a_setting() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", COMPOSE_TEXT + DOCKERFILE))
    assert named
    assert named <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_the_servers_the_worker_is_told_of_are_the_services() -> None:
    environment = SERVICES["worker"]["environment"]
    assert environment["LOGISTICS_AMQP_URL"].endswith("@rabbitmq:5672/")
    assert environment["LOGISTICS_MONGODB_URI"] == "mongodb://mongodb:27017/?replicaSet=rs0"
    assert environment["LOGISTICS_SUPPLIER_URL"] == "http://supplier:8090"


def test_the_worker_and_the_broker_agree_on_a_user_who_is_not_guest() -> None:
    broker = SERVICES["rabbitmq"]["environment"]
    user, password = broker["RABBITMQ_DEFAULT_USER"], broker["RABBITMQ_DEFAULT_PASS"]
    assert SERVICES["worker"]["environment"]["LOGISTICS_AMQP_URL"].startswith(f"amqp://{user}:{password}@")
    assert "guest" not in user + password


def test_the_replica_set_is_the_one_its_health_check_makes() -> None:
    service = SERVICES["mongodb"]
    assert service["command"][1:3] == ["--replSet", "rs0"]
    assert '{ _id: "rs0", members: [{ _id: 0, host: "mongodb:27017" }] }' in MONGODB_CHECK
    assert service["hostname"] == "mongodb"
    mounts = {target: source for source, target, _ in (volume.split(":") for volume in service["volumes"][2:])}
    assert service["healthcheck"]["test"][-1] in mounts
    assert all((ROOT / source).is_file() for source in mounts.values())


def test_every_named_volume_is_declared_and_every_command_exists() -> None:
    sources = {str(volume).partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {source for source in sources if not source.startswith(".")} == set(COMPOSE["volumes"])
    commands = {json.loads(last("CMD"))[0], SERVICES["supplier"]["command"][0]}
    assert commands <= set(cli.list_commands(click.Context(cli)))
