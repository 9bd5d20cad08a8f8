"""Gathering the evidence, when all is quiet again: the publisher's book, the supplier, the store and every queue."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aio_pika
from aio_pika.exceptions import ChannelNotFoundEntity
from pymongo import MongoClient

from infra.rabbitmq.topology import Topology
from infra.supplier.simulator import SupplierSimulator
from tests.chaos.accountant import Evidence, OpenLetter, Queued, Request, Stored
from tests.chaos.world import DATABASE, SETTINGS
from worker.settings import load_settings

_MAX_HISTORY = 100
_MANY = 100_000_000
_WITH_REASON = ("attempt_failed", "deferred")


async def gather(*, amqp_url: str, mongodb_uri: str, supplier: SupplierSimulator, book: Path) -> Evidence:
    """Return what can be known from outside. Nothing may be under way any more."""
    published = _published(book)
    # In a thread: the wires to the store are in this very event loop.
    stored, letters = await asyncio.to_thread(_read_store, mongodb_uri)
    requests = [
        Request(str(request["order_id"]), str(request["trace_id"]))
        for request in supplier.requests(limit=_MANY)
        if request["order_id"] is not None
    ]
    return Evidence(
        confirmed=published["confirmed"],
        attempted=published["given up"],
        queued=await _queued(amqp_url),
        stored=stored,
        letters=letters,
        requests=requests,
        dispatches={order: len(supplier.dispatches(order)) for order in {request.order_id for request in requests}},
    )


def _read_store(mongodb_uri: str) -> tuple[list[Stored], list[OpenLetter]]:
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        stored = [_stored(document) for document in client[DATABASE].shipments.find()]
        unresolved = {"state": {"$in": ["open", "replaying"]}}
        letters = [
            OpenLetter(letter["order_id"], letter["trace_id"], letter["reason"])
            for letter in client[DATABASE].dead_letters.find(unresolved, {"body": False})
        ]
    return stored, letters


async def queues_exist(amqp_url: str) -> bool:
    """Return whether every queue is declared."""
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        channel = await connection.channel()
        try:
            for queue in _queues():
                await channel.declare_queue(queue, passive=True, timeout=10)
        except ChannelNotFoundEntity:
            return False
    return True


def _queues() -> list[str]:
    delays = load_settings({**SETTINGS, "LOGISTICS_AMQP_URL": "amqp://x/"}).retry_delays
    return [queue.name for queue in Topology(delays).queues]


async def _queued(amqp_url: str) -> list[Queued]:
    """Return every message of every queue; they go back when the connection ends."""
    found = []
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        for name in _queues():
            channel = await connection.channel()
            queue = await channel.get_queue(name, ensure=False)
            while (message := await queue.get(fail=False, timeout=10)) is not None:
                order = json.loads(message.body)["order_id"]
                trace = message.headers.get("trace_id")
                found.append(Queued(name, order, str(trace) if trace is not None else None))
    return found


def _published(book: Path) -> dict[str, dict[str, str]]:
    published: dict[str, dict[str, str]] = {"confirmed": {}, "given up": {}}
    for line in book.read_text().splitlines():
        what, order, trace = line.split("\t")
        published[what][order] = trace
    return published


def _stored(document: dict[str, Any]) -> Stored:
    history = document["history"]
    is_cut = len(history) >= _MAX_HISTORY
    return Stored(
        order_id=document["order_id"],
        status=document["status"],
        trace_id=document["trace_id"],
        retry_count=document["retry_count"],
        reasons=tuple(event.get("error_type") for event in history if event["event"] in _WITH_REASON),
        failed_tries=None if is_cut else sum(event["event"] == "attempt_failed" for event in history),
    )
