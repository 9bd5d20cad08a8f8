"""A console on real servers, its users, and the database behind it, for one test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient

from infra.console.access.roles import Role
from infra.mongodb.letter_documents import letter_document
from tests.conftest import Broker, Mongo
from tests.support.console import Callers, console_here, write_users
from tests.support.letters import NOW
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.shipment import shipment_id_for


@dataclass
class Office:
    """A console, its users' tokens, and the database behind it."""

    callers: Callers
    tokens: dict[Role, str]
    db: Any
    environment: dict[str, str]

    def put(self, *letters: DeadLetterRecord) -> None:
        put_letters(self.db, *letters)

    def put_shipment(self, order_id: str, destination: str = "Oslo") -> None:
        times = {"created_at": NOW, "updated_at": NOW}
        more = {"status": "FAILED", "retry_count": 3, "trace_id": "trace-x", "last_error": "no", "history": []}
        shipment = {"_id": shipment_id_for(order_id), "order_id": order_id, "destination": destination}
        self.db.shipments.insert_one({**shipment, **times, **more})

    def caller(self, role: Role) -> httpx.AsyncClient:
        return self.callers.caller(self.tokens[role])

    async def get(self, path: str, role: Role = Role.READER, **query: Any) -> httpx.Response:
        async with self.caller(role) as http:
            return await http.get(path, params=query or None)

    async def post(self, path: str, role: Role = Role.OPERATOR, **body: Any) -> httpx.Response:
        async with self.caller(role) as http:
            return await http.post(path, json=body)

    async def done(self, path: str, role: Role = Role.OPERATOR, **body: Any) -> Any:
        response = await self.post(path, role, **body)
        assert response.status_code in {200, 201}, response.text
        return response.json()

    async def document(self, path: str, role: Role = Role.READER, **query: Any) -> Any:
        response = await self.get(path, role, **query)
        assert response.status_code == 200, response.text
        return response.json()


@asynccontextmanager
async def an_office(broker: Broker, mongo: Mongo, folder: Path) -> AsyncIterator[Office]:
    environment = {
        "LOGISTICS_AMQP_URL": broker.amqp_url,
        "LOGISTICS_MONGODB_URI": mongo.uri,
        "LOGISTICS_MONGODB_DATABASE": mongo.database,
    }
    tokens = write_users(folder / "users")
    users = {"LOGISTICS_CONSOLE_USERS_FILE": str(folder / "users")}
    async with console_here({**environment, **users}) as callers:
        with MongoClient[dict[str, Any]](mongo.uri, tz_aware=True) as client:
            yield Office(callers, tokens, client[mongo.database], environment)


def put_letters(db: Any, *letters: DeadLetterRecord) -> None:
    """Store dead letters as if they had been filed."""
    db.dead_letters.insert_many([{"_id": letter.id, **letter_document(letter), "revision": 0} for letter in letters])
