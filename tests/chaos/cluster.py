"""Three RabbitMQ nodes that form a cluster, each of which can be killed."""

import json
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import LocalServerError
from infra.local.files import write_private
from infra.local.ports import LOOPBACK, free_ports
from infra.local.process import ServerProcess
from infra.local.rabbitmq import PrivateRabbitMQ
from infra.local.server import Command, PrivateServer

_STARTS = 5
NAMES = ("one@localhost", "two@localhost", "three@localhost")
_PEERS = "".join(f"cluster_formation.classic_config.nodes.{number} = {name}\n" for number, name in enumerate(NAMES, 1))
_CLUSTER = f"""\
cluster_formation.peer_discovery_backend = classic_config
{_PEERS}\
cluster_name = chaos
cluster_partition_handling = ignore
"""
# Deliveries are looked at for the consumer time-out at every tick of their channel, by default once a minute.
_ADVANCED = "[{rabbit, [{channel_tick_interval, 3000}]}].\n"


class ClusterNode(PrivateRabbitMQ):
    """One node; it shares name service, cookie and password with its peers."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.node_name = name
        self.processes = [ServerProcess("rabbitmq", self.data_dir)]

    @property
    def amqp_port(self) -> int:
        return self._node.amqp_port

    @property
    def ports(self) -> Sequence[int]:
        return self._node.amqp_port, self._node.management_port, self._node.peer_port

    def prepare(self) -> Sequence[Command]:
        commands = super().prepare()[-1:]
        write_private(self.data_dir / "advanced.config", _ADVANCED)
        return commands

    def configuration(self) -> str:
        return super().configuration() + _CLUSTER


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds."""

    ready: int
    unacknowledged: int
    messages: int
    """In all: those that are due and not forwarded yet are neither ready nor unacknowledged."""


def start_again(server: PrivateServer) -> None:
    """Start a server as a supervisor does: once more when it ends.

    A RabbitMQ 3.10 node that meets a peer which is only starting, too, may do that (`incompatible_feature_flags`).
    """
    for tries_left in reversed(range(_STARTS)):
        try:
            server.start()
        except LocalServerError:
            if not tries_left:
                raise
        else:
            return


class Cluster:
    """The three nodes and their name service."""

    def __init__(self, folder: Path) -> None:
        self._epmd = ServerProcess("epmd", folder)
        self._folder = folder
        self.nodes = self._made_up_nodes(folder)

    def start(self) -> None:
        """Start all three at once and wait for the cluster; about 25 s."""
        epmd, port = shutil.which("epmd"), self._epmd_port
        assert epmd is not None
        self._epmd.start([epmd, "-address", LOOPBACK, "-port", str(port)], {"PATH": "/usr/bin:/bin"})
        with ThreadPoolExecutor() as threads:
            list(threads.map(start_again, self.nodes))
        self.nodes[0].ctl("await_online_nodes", "3")

    def kill(self) -> None:
        """End everything at once."""
        with ExitStack() as stack:
            stack.callback(self._epmd.kill)
            for node in self.nodes:
                stack.callback(node.kill)

    def leader_of(self, queue: str) -> ClusterNode | None:
        """Return the node that leads a queue, None while nobody does or nobody knows."""
        for node in self.nodes:
            if node.is_running:
                told = json.loads(node.ctl("list_queues", "--formatter", "json", "name", "leader", "--online"))
                leaders = {row["name"]: row["leader"] for row in told}
                return next((each for each in self.nodes if each.node_name == leaders.get(queue)), None)
        return None

    def queues(self) -> dict[str, Depth]:
        """Return what waits in each queue, as its leader counts it."""
        names = ("name", "messages_ready", "messages_unacknowledged", "messages")
        told = json.loads(self.any_node().ctl("list_queues", "--formatter", "json", *names))
        return {row["name"]: Depth(*(int(row[name] or 0) for name in names[1:])) for row in told}

    def in_hand(self) -> int:
        """Return how many deliveries the living channels hold, of all queues together."""
        told = json.loads(self.any_node().ctl("list_channels", "--formatter", "json", "messages_unacknowledged"))
        return sum(int(row["messages_unacknowledged"]) for row in told)

    def move_leader(self, queue: str) -> str:
        """Restart the node that leads a queue, so that another one leads it; return the node's name.

        What an operator does about a queue that keeps messages for nobody. Raises LocalServerError.
        """
        node = self.leader_of(queue)
        assert node is not None, f"{queue} has no leader"
        node.kill()
        start_again(node)
        return node.node_name

    def live_consumers(self) -> Counter[str]:
        """Return how many consumers with a living channel each queue has; a queue itself may count a dead one."""
        told = json.loads(self.any_node().ctl("list_consumers", "--formatter", "json", "queue_name"))
        return Counter(row["queue_name"] for row in told)

    def consumers(self) -> str:
        """Return a table of the consumers, for whoever looks for one too many."""
        node = self.any_node()
        return f"{node.ctl('list_consumers')}\n{node.ctl('list_channels', 'pid', 'connection', 'consumer_count')}"

    def any_node(self) -> ClusterNode:
        """Return a node that runs."""
        return next(node for node in self.nodes if node.is_running and node.why_not_ready() is None)

    def _made_up_nodes(self, folder: Path) -> list[ClusterNode]:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ports = free_ports(1 + 3 * len(NAMES))
        self._epmd_port, cookie, password = ports.pop(), secrets.token_hex(20), secrets.token_hex(16)
        nodes = []
        for name in NAMES:
            home = folder / name.partition("@")[0]
            (home / "home").mkdir(mode=0o700, parents=True)
            write_private(home / "home" / ".erlang.cookie", cookie, mode=0o400)
            known = {"amqp_port": ports.pop(), "management_port": ports.pop(), "peer_port": ports.pop()}
            shared = {"epmd_port": self._epmd_port, "user": "logistics", "password": password}
            write_private(home / "node.json", json.dumps({**known, **shared}))
            nodes.append(ClusterNode(home, name))
        return nodes
