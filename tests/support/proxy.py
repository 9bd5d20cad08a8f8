"""A TCP proxy between a worker and a server: what it holds is late, what it cuts never arrives.

It passes whole messages on (AMQP frames, MongoDB messages), so a test can say which one is the last to get through.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pymongo import MongoClient

from infra.local.ports import LOOPBACK, free_ports

_CHUNK = 64 * 1024
_GREETING = 8 * 1024
_FLUSH_TIMEOUT = 2.0

Predicate = Callable[[bytes], bool]
"""Whether this is the message."""


class Direction(Enum):
    """Which way a message goes."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


def is_ack(frame: bytes) -> bool:
    """Whether an AMQP frame is a Basic.Ack: to the server a consumer's, to the client a publisher's confirm."""
    return frame[:1] == b"\x01" and frame[7:11] == b"\x00\x3c\x00\x50"


def is_publish(frame: bytes) -> bool:
    """Whether an AMQP frame is a Basic.Publish."""
    return frame[:1] == b"\x01" and frame[7:11] == b"\x00\x3c\x00\x28"


def contains(*parts: bytes) -> Predicate:
    """Return the predicate of the messages in which every part occurs."""
    return lambda message: all(part in message for part in parts)


@dataclass(eq=False)
class Trap:
    """Holds a direction of the connection on which a matching message comes along, just before that message."""

    matches: Predicate
    direction: Direction
    name: bytes
    _sprung: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_sprung(self) -> bool:
        return self._sprung.is_set()

    def spring(self) -> None:
        self._sprung.set()

    async def springs(self, *, timeout: float = 20.0) -> None:
        """Return when the message came along; fail when it does not in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._sprung.wait()
        except TimeoutError:
            raise AssertionError(f"within {timeout} s no such message came by {self.direction.value}") from None


class Connection:
    """One connection by way of the proxy."""

    def __init__(self, proxy: "Proxy") -> None:
        self._proxy = proxy
        self._greeting = b""
        self._gates = {direction: asyncio.Event() for direction in Direction}
        self._server: _Side | None = None
        self.resume()

    def is_called(self, name: bytes) -> bool:
        """Whether the client said this name of itself when it connected; every one is called b''."""
        return name in self._greeting

    def hold(self, *directions: Direction) -> None:
        """Pass nothing on in these directions, in both when none is named: no message, no end."""
        for direction in directions or Direction:
            self._gates[direction].clear()

    def resume(self) -> None:
        """Pass on what was held and what comes."""
        for gate in self._gates.values():
            gate.set()

    def forge(self, message: bytes) -> None:
        """Send the server a message that the client never wrote."""
        assert self._server is not None, "the connection is not through yet"
        self._server.writer.write(message)

    async def run(self, client: "_Side", server: "_Side") -> None:
        """Pass on until one side ends. Cancelled, it cuts: what is held never arrives."""
        self._server = server
        flows = [
            asyncio.create_task(self._pass_on(client, server, Direction.TO_SERVER)),
            asyncio.create_task(self._pass_on(server, client, Direction.TO_CLIENT)),
        ]
        try:
            await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(client.close(), server.close())
        finally:
            for flow in flows:
                flow.cancel()
            await asyncio.gather(*flows, client.abort(), server.abort(), return_exceptions=True)

    async def _pass_on(self, source: "_Side", target: "_Side", direction: Direction) -> None:
        gate, unread = self._gates[direction], b""
        while data := await source.reader.read(_CHUNK):
            unread += data
            while size := self._proxy.split(unread):
                message, unread = unread[:size], unread[size:]
                self._look_at(message, direction)
                await gate.wait()
                target.writer.write(message)
            await target.writer.drain()
        await gate.wait()  # a silent network does not tell of the end either

    def _look_at(self, message: bytes, direction: Direction) -> None:
        if direction is Direction.TO_SERVER and len(self._greeting) < _GREETING:
            self._greeting += message
        for trap in self._proxy.traps:
            if trap.direction is direction and self.is_called(trap.name) and trap.matches(message):
                self.hold(direction)
                self._proxy.traps.remove(trap)
                trap.spring()
                return


class Proxy:
    """Listens on a port of its own and connects everybody through to one server."""

    def __init__(self, host: str, port: int, split: Callable[[bytes], int]) -> None:
        """`split` returns the length of the first message in some data, 0 while it is not complete."""
        self.port = free_ports(1)[0]
        self.url = ""
        self.split = split
        self.traps: list[Trap] = []
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}

    async def listen(self) -> None:
        """Accept connections from now on."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)

    def refuse(self) -> None:
        """Refuse connections from now on; those that are there stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def connections(self, name: bytes = b"") -> list[Connection]:
        """Return the connections of this name."""
        return [connection for connection in self._connections if connection.is_called(name)]

    def hold(self, name: bytes = b"") -> None:
        """Let the connections of this name fall silent, both ways; new ones work."""
        for connection in self.connections(name):
            connection.hold()

    def hold_before(self, matches: Predicate, *, direction: Direction = Direction.TO_SERVER, name: bytes = b"") -> Trap:
        """Hold, just before the first message that matches, that direction of its connection."""
        trap = Trap(matches, direction, name)
        self.traps.append(trap)
        return trap

    async def cut(self, name: bytes = b"") -> None:
        """Cut the connections of this name; what is held never arrives."""
        tasks = [self._connections[connection] for connection in self.connections(name)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Stop listening and cut everything."""
        self.refuse()
        await self.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self)
        task = asyncio.create_task(self._connect_through(connection, _Side(reader, writer)))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection))

    async def _connect_through(self, connection: Connection, client: "_Side") -> None:
        try:
            server = _Side(*await asyncio.open_connection(*self._target))
        except OSError:
            await client.abort()
        else:
            await connection.run(client, server)


@dataclass(frozen=True)
class _Side:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def close(self) -> None:
        """Close when everything written has been sent, or after a while."""
        self.writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_FLUSH_TIMEOUT):
                await self.writer.wait_closed()

    async def abort(self) -> None:
        """Close at once."""
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def proxy_to_broker(amqp_url: str, *, listening: bool = True) -> AsyncIterator[Proxy]:
    """Yield a proxy to a RabbitMQ; a worker's connections are called `<worker> publish`, `<worker> consume <queue>`…"""
    parts = urlsplit(amqp_url)
    async with _running(Proxy(parts.hostname or LOOPBACK, parts.port or 5672, _amqp_frame), listening) as proxy:
        proxy.url = parts._replace(netloc=f"{_login(parts.netloc)}{LOOPBACK}:{proxy.port}").geturl()
        yield proxy


@asynccontextmanager
async def proxy_to_store(mongodb_uri: str, *, listening: bool = True) -> AsyncIterator[Proxy]:
    """Yield a proxy to the primary of a MongoDB replica set.

    Its URI asks for a direct connection: a driver that looks for the replica set would find the way around it.
    """
    parts = urlsplit(mongodb_uri)
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        host, _, port = str(client.admin.command("hello")["primary"]).rpartition(":")
    options = {name: value for name, value in parse_qsl(parts.query) if name.lower() != "replicaset"}
    query = urlencode({**options, "directConnection": "true"})
    async with _running(Proxy(host, int(port), _mongodb_message), listening) as proxy:
        proxy.url = parts._replace(netloc=f"{_login(parts.netloc)}{LOOPBACK}:{proxy.port}", query=query).geturl()
        yield proxy


@asynccontextmanager
async def proxy_to_supplier(url: str, *, listening: bool = True) -> AsyncIterator[Proxy]:
    """Yield a proxy to an HTTP supplier; it passes on bytes as they come."""
    parts = urlsplit(url)
    async with _running(Proxy(parts.hostname or LOOPBACK, parts.port or 80, len), listening) as proxy:
        proxy.url = parts._replace(netloc=f"{LOOPBACK}:{proxy.port}").geturl()
        yield proxy


@asynccontextmanager
async def _running(proxy: Proxy, listening: bool) -> AsyncIterator[Proxy]:
    try:
        if listening:
            await proxy.listen()
        yield proxy
    finally:
        await proxy.close()


def _login(netloc: str) -> str:
    login, at, _ = netloc.rpartition("@")
    return login + at


def _amqp_frame(data: bytes) -> int:
    """Return the length of the first frame: header, payload, end mark; before the frames goes an 8-byte greeting."""
    size = 8 if data.startswith(b"AMQP") else 7 + int.from_bytes(data[3:7], "big") + 1
    return size if len(data) >= max(size, 8) else 0


def _mongodb_message(data: bytes) -> int:
    """Return the length of the first message, which is in its first four bytes."""
    size = int.from_bytes(data[:4], "little")
    return size if len(data) >= max(size, 16) else 0
