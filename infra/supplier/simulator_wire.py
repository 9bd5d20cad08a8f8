"""How the simulated supplier puts an answer on the wire, whole or broken."""

import asyncio
import socket
import struct

from aiohttp import web

from infra.supplier.simulator_replies import Reply

_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)


def whole(reply: Reply, retry_after: str | None = None) -> web.Response:
    """The answer as it should be."""
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return web.Response(status=reply.status, body=reply.body or None, headers=headers)


async def never(request: web.Request, stopping: asyncio.Event) -> web.Response:
    """No answer: waits until the client gives up (which cancels this) or the simulator stops."""
    await stopping.wait()
    return reset(request)


def reset(request: web.Request) -> web.Response:
    """Cut the TCP connection with a RST; the response returned is never sent, aiohttp only wants one."""
    if (transport := request.transport) is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        # closing a socket that does not linger discards what is unsent and sends RST instead of FIN
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
        transport.abort()
    return web.Response()


async def cut(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Promise the whole body, send half of it, close the connection."""
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": "application/json"})
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()  # sends what is buffered first
    return response
