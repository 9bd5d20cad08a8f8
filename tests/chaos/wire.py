"""A wire: a TCP proxy whose connections can be cut or fall silent, all of them or those of one process."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from infra.local.ports import LOOPBACK, free_ports

_CHUNK = 256 * 1024
_LISTENING = "0A"


class _Connection:
    """One connection; while it is silent nothing passes in either direction, and no end is told."""

    def __init__(self, owner: int | None) -> None:
        self.owner = owner
        self.task: asyncio.Task[None] | None = None
        self._open = asyncio.Event()
        self._open.set()

    def silence(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    async def run(self, near: "_Side", far: "_Side") -> None:
        flows = [asyncio.create_task(self._pass_on(near, far)), asyncio.create_task(self._pass_on(far, near))]
        try:
            await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        finally:
            near.abort()  # before anything is waited for: a second cut would leave it open
            far.abort()
            for flow in flows:
                flow.cancel()
            await asyncio.gather(*flows, return_exceptions=True)

    async def _pass_on(self, source: "_Side", target: "_Side") -> None:
        with suppress(OSError):
            while data := await source.reader.read(_CHUNK):
                await self._open.wait()
                target.writer.write(data)
                await target.writer.drain()
        await self._open.wait()


class _Side:
    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams

    def abort(self) -> None:
        self.writer.transport.abort()


class Wire:
    """Listens on a port of its own and leads to the first of its targets that accepts."""

    def __init__(self, targets: Callable[[], Iterator[int]]) -> None:
        """`targets`: the loopback ports to try, in this order, for each new connection."""
        self._targets = targets
        self._connections: set[_Connection] = set()
        self._silent_for: set[int | None] = set()
        self._server: asyncio.Server | None = None
        self.port = free_ports(1)[0]

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        tasks = [connection.task for connection in self._connections if connection.task]
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self, owner: int | None = None) -> None:
        """End connections at once, those of one process or all; new ones are welcome."""
        for connection in self._of(owner):
            if connection.task is not None:
                connection.task.cancel()

    def silence(self, owner: int | None = None) -> None:
        """From now on nothing gets through, old connections and new ones alike, of one process or of all."""
        self._silent_for.add(owner)
        for connection in self._of(owner):
            connection.silence()

    def heal(self, owner: int | None = None) -> None:
        """Let through what was held."""
        self._silent_for.discard(owner)
        for connection in self._of(owner):
            connection.heal()

    def _of(self, owner: int | None) -> list[_Connection]:
        return [each for each in self._connections if owner is None or each.owner == owner]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = _Side((reader, writer))
        try:
            await self._lead_on(near)
        except asyncio.CancelledError:
            pass  # cut
        finally:
            near.abort()

    async def _lead_on(self, near: _Side) -> None:
        peer = near.writer.get_extra_info("peername")
        if peer is None:  # gone again already
            return
        connection = _Connection(owner_of(peer[1]))
        connection.task = asyncio.current_task()
        self._connections.add(connection)
        try:
            far = await self._open()
            if far is None:
                return
            if {None, connection.owner} & self._silent_for:
                connection.silence()
            await connection.run(near, far)
        finally:
            self._connections.discard(connection)

    async def _open(self) -> _Side | None:
        for port in self._targets():
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    return _Side(await asyncio.open_connection(LOOPBACK, port))
        return None


_watched: dict[int, int] = {}
"""The processes whose connections are told apart."""


def watch(pid: int) -> None:
    """Tell the connections of this process apart from now on."""
    _watched[pid] = pid


def forget(pid: int) -> None:
    """The process is gone."""
    _watched.pop(pid, None)


def owner_of(port: int) -> int | None:
    """Return which of the watched processes has a loopback connection that comes from this port; None: none of them."""
    inode = _inode_of(port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    return next((pid for pid in _watched if wanted in _open_files(pid)), None)


def _inode_of(port: int) -> str | None:
    local = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == local and fields[3] != _LISTENING:
            return fields[9]
    return None


def _open_files(pid: int) -> set[str]:
    found: set[str] = set()
    with suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(file.readlink()))
    return found
