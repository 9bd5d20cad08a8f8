"""The wire of the chaos run leaves no connection behind."""

import asyncio
from contextlib import suppress

from infra.local.ports import LOOPBACK, free_ports
from tests.chaos.wire import Wire


async def test_a_connection_that_is_cut_twice_at_once_is_closed_on_both_sides() -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(1024):
                arrived.set()
        writer.close()
        ended.set()

    (port,) = free_ports(1)
    async with await asyncio.start_server(serve, LOOPBACK, port):
        wire = Wire(lambda: iter([port]))
        await wire.listen()
        _, writer = await asyncio.open_connection(LOOPBACK, wire.port)
        writer.write(b"hello")
        await arrived.wait()
        wire.cut()
        await asyncio.sleep(0)  # the first is at work when the second comes
        wire.cut()
        async with asyncio.timeout(5):
            await ended.wait()
        writer.close()
        await wire.close()
