"""A private RabbitMQ node: no Docker, no systemd, no root."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from infra.local.errors import LocalServerError
from infra.local.files import remembered, write_private
from infra.local.management import Management
from infra.local.ports import LOOPBACK, accepts, free_ports
from infra.local.server import Command, PrivateServer

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Where the packages put the plain scripts; those on the PATH are wrappers that want root and the system's node."""

_CTL_TIMEOUT = 60  # seconds
# Without these the Erlang VM listens to its peers on every interface, and starts a daemon when epmd does not answer.
_STAY_PRIVATE = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"

_CONFIGURATION = """\
listeners.tcp.local = 127.0.0.1:{node.amqp_port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {node.management_port}
default_user = {node.user}
default_pass = {node.password}
# A laptop with a full disk may still run the demo; below this the node would block every publisher.
disk_free_limit.absolute = 64MB
log.console = true
log.console.level = warning
log.console.use_colors = off
log.file = false
"""


@dataclass(frozen=True)
class _Node:
    amqp_port: int
    management_port: int
    peer_port: int
    epmd_port: int
    user: str
    password: str

    @classmethod
    def made_up(cls) -> "_Node":
        amqp, management, peer, epmd = free_ports(4)
        return cls(amqp, management, peer, epmd, user="logistics", password=secrets.token_hex(16))


class PrivateRabbitMQ(PrivateServer):
    """A RabbitMQ node on loopback ports, with the management plugin and a made-up password.

    What a queue holds survives `kill`, but the node writes down a new queue only about a second after it was declared:
    one declared right before a kill is lost, with the confirmed messages in it (measured on 3.10 and 4.3).
    """

    title = "RabbitMQ"
    remedy = "If a part of RabbitMQ is missing: make install-servers"
    node_name = "private@localhost"
    """May be the same everywhere: every node has a name service of its own."""

    def __init__(self, data_dir: str | os.PathLike[str], *, programs: Path = PROGRAMS) -> None:
        """Keep everything in the folder; `programs` holds `rabbitmq-server` and `rabbitmqctl`."""
        super().__init__(data_dir, "epmd", "rabbitmq")
        self._programs = programs

    @property
    def amqp_url(self) -> str:
        """The URL of the default virtual host; it holds the password."""
        return self._amqp_url("/")

    @property
    def management_url(self) -> str:
        """The URL of the management pages and API; user and password are those in `amqp_url`."""
        return f"http://{LOOPBACK}:{self._node.management_port}"

    @property
    def ports(self) -> Sequence[int]:
        """AMQP, management, peers (only rabbitmqctl uses it) and epmd."""
        return self._node.amqp_port, self._node.management_port, self._node.peer_port, self._node.epmd_port

    def add_vhost(self, name: str) -> str:
        """Make a virtual host (one that is there stays as it is) and return its AMQP URL."""
        self._management.add_vhost(name)
        return self._amqp_url(name)

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all its queues; raises LocalServerError when there is none."""
        self._management.delete_vhost(name)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl with these arguments and return what it prints; takes a second or two.

        Raises LocalServerError with its complaint.
        """
        command = [self._program("rabbitmqctl"), "--node", self.node_name, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                command, env=self._environment(), cwd=self.data_dir, capture_output=True, text=True,
                timeout=_CTL_TIMEOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise LocalServerError(f"rabbitmqctl {arguments[0]} took longer than {_CTL_TIMEOUT} s") from error
        if done.returncode != 0:
            raise LocalServerError(f"rabbitmqctl {' '.join(arguments)} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def prepare(self) -> Sequence[Command]:
        """Write the node's files; raises LocalServerError when RabbitMQ or Erlang is missing."""
        epmd = shutil.which("epmd")
        server = self._program("rabbitmq-server")
        if epmd is None:
            raise LocalServerError("Erlang's epmd is not on the PATH: make install-servers")
        self._write_files()
        environment = self._environment()
        return (
            ([epmd, "-address", LOOPBACK, "-port", str(self._node.epmd_port)], environment),
            ([server], environment),
        )

    def configuration(self) -> str:
        """Return the text of rabbitmq.conf."""
        return _CONFIGURATION.format(node=self._node)

    def why_not_ready(self) -> str | None:
        """Return what the node does not do yet, or None when it can be used."""
        if not self._management.answers():
            return "its management does not answer"
        if not accepts(self._node.amqp_port):
            return "it does not accept AMQP connections"
        return None

    @cached_property
    def _node(self) -> _Node:
        return _Node(**remembered(self.data_dir / "node.json", lambda: asdict(_Node.made_up())))

    @property
    def _management(self) -> Management:
        return Management(self._node.management_port, self._node.user, self._node.password)

    def _amqp_url(self, vhost: str) -> str:
        node = self._node
        return f"amqp://{node.user}:{node.password}@{LOOPBACK}:{node.amqp_port}/{quote(vhost, safe='')}"

    def _program(self, name: str) -> str:
        path = self._programs / name
        if not os.access(path, os.X_OK):
            raise LocalServerError(f"RabbitMQ is not installed (no {path}): make install-servers")
        return str(path)

    def _write_files(self) -> None:
        for folder in ("home", "mnesia", "log"):
            (self.data_dir / folder).mkdir(mode=0o700, exist_ok=True)
        cookie = self.data_dir / "home" / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20), mode=0o400)  # Erlang refuses one that others may read
        write_private(self.data_dir / "rabbitmq.conf", self.configuration())
        write_private(self.data_dir / "advanced.config", "[].\n")
        write_private(self.data_dir / "enabled_plugins", "[rabbitmq_management].\n")

    def _environment(self) -> dict[str, str]:
        # The whole environment: a RABBITMQ_ variable of the user's would otherwise lead to the system's node.
        folder = self.data_dir
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder / "home"),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._node.epmd_port),
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_NODE_PORT": str(self._node.amqp_port),
            "RABBITMQ_DIST_PORT": str(self._node.peer_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "erlang.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 2:2 +sbwt none {_STAY_PRIVATE}",
            "RABBITMQ_CTL_ERL_ARGS": _STAY_PRIVATE,
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the VM, so that its pid is the node's
        }
