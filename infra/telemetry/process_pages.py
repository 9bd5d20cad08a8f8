"""The health of a worker process on this machine, as its supervisor asks for it."""

import asyncio
from dataclasses import dataclass

import aiohttp

_TIMEOUT = 3.0  # seconds: /readyz itself waits up to 2 s for the store


@dataclass(frozen=True, slots=True)
class Page:
    """What a process answered."""

    is_fine: bool
    text: str

    @property
    def problem(self) -> str | None:
        """What a health page complains of, on one line; None when all is well."""
        if self.is_fine:
            return None
        return "; ".join(line for line in self.text.splitlines() if not line.endswith(": ok"))


class ProcessPages:
    """Asks one process for its pages, each time on a connection of its own."""

    def __init__(self, address: str) -> None:
        """`address`: `host:port`."""
        self.address = address

    async def get(self, path: str) -> Page | None:
        """Return a page, None when there is no answer in 3 seconds."""
        try:
            async with (
                asyncio.timeout(_TIMEOUT),
                aiohttp.ClientSession() as session,
                session.get(f"http://{self.address}{path}") as response,
            ):
                return Page(is_fine=response.status == 200, text=await response.text())
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
