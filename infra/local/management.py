"""RabbitMQ's management HTTP API, as much of it as the private server needs."""

import base64
import http.client
import json
from collections.abc import Mapping
from urllib.parse import quote

from infra.local.errors import LocalServerError
from infra.local.ports import LOOPBACK

_TIMEOUT = 10  # seconds for one request


class Management:
    """The management API on a loopback port.

    It speaks through http.client and not urllib, which would send loopback requests to the proxy of the environment.
    """

    def __init__(self, port: int, user: str, password: str) -> None:
        self._port = port
        self._user = user
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answers(self) -> bool:
        """Return whether the API is up and knows the user."""
        try:
            self._request("GET", "/api/whoami")
        except LocalServerError:
            return False
        return True

    def add_vhost(self, name: str) -> None:
        """Make a virtual host (one that is there stays as it is) and let the user do everything in it."""
        self._request("PUT", f"/api/vhosts/{_quoted(name)}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._request("PUT", f"/api/permissions/{_quoted(name)}/{_quoted(self._user)}", everything)

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all that is in it; raises LocalServerError when there is none."""
        self._request("DELETE", f"/api/vhosts/{_quoted(name)}")

    def _request(self, method: str, path: str, body: Mapping[str, str] | None = None) -> None:
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise LocalServerError(f"RabbitMQ's management does not answer on port {self._port}: {error}") from error
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise LocalServerError(f"RabbitMQ refused {method} {path}: {response.status} {answer[:400]}")


def _quoted(name: str) -> str:
    return quote(name, safe="")
