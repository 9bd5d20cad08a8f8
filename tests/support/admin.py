"""What a broker's administrator does to a virtual host: limits, users, other people's connections."""

import asyncio
import http.client
import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote, urlsplit

from tests.support.system import eventually

_TIMEOUT = 15.0
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


class BrokerAdmin:
    """The management API, for one virtual host."""

    def __init__(self, amqp_url: str, management_url: str) -> None:
        self._amqp = urlsplit(amqp_url)
        self._port = urlsplit(management_url).port or 15672
        self._vhost = quote(self._amqp.path.removeprefix("/"), safe="")
        login = f"{self._amqp.username or 'guest'}:{self._amqp.password or 'guest'}"
        self._authorization = "Basic " + b64encode(login.encode()).decode()

    async def limit_length(self, queue: str, messages: int) -> None:
        """Let the queue refuse what is published to it while it holds so many messages."""
        await self.call(
            "PUT",
            f"/api/policies/{self._vhost}/full-{quote(queue, safe='')}",
            {
                "pattern": f"^{queue.replace('.', '[.]')}$",
                "definition": {"max-length": messages, "overflow": "reject-publish"},
                "apply-to": "queues",
            },
        )

    async def lift_limit(self, queue: str) -> None:
        """Take the limit away again."""
        await self.call("DELETE", f"/api/policies/{self._vhost}/full-{quote(queue, safe='')}")

    async def add_user(self, name: str, password: str) -> str:
        """Make a user who may do everything in this virtual host; return its AMQP URL."""
        await self.set_password(name, password)
        await self.call("PUT", f"/api/permissions/{self._vhost}/{name}", EVERYTHING)
        return self._amqp._replace(netloc=f"{name}:{password}@{self._amqp.hostname}:{self._amqp.port}").geturl()

    async def set_password(self, name: str, password: str) -> None:
        """Give the user another password; connections that are open stay open."""
        await self.call("PUT", f"/api/users/{name}", {"password": password, "tags": ""})

    async def delete_user(self, name: str) -> None:
        """Remove the user."""
        await self.call("DELETE", f"/api/users/{name}")

    async def close_connections_of(self, user: str) -> None:
        """Close every connection of a user who cannot open others; the management knows a new one after seconds."""

        async def none_left() -> bool:
            names = [connection["name"] for connection in await self.call("GET", f"/api/connections/username/{user}")]
            for name in names:
                await self.call("DELETE", f"/api/connections/{quote(name, safe='')}")
            return not names

        await eventually(none_left, every=0.3)

    async def queue(self, name: str) -> dict[str, Any]:
        """Return what the broker says of the queue."""
        found: dict[str, Any] = await self.call("GET", f"/api/queues/{self._vhost}/{quote(name, safe='')}")
        return found

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Make one request of the API; return what it answers."""
        return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method: str, path: str, body: object) -> Any:
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        # A connection that is gone already is what was wanted.
        gone = method == "DELETE" and response.status == http.client.NOT_FOUND
        assert gone or response.status < http.client.BAD_REQUEST, (method, path, response.status, answer[:300])
        return json.loads(answer) if answer else None
