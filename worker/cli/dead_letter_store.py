"""What the dead-letter commands work on, opened for one command."""

import getpass
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click

from infra.mongodb.dead_letters import MongoDeadLetters
from infra.mongodb.letter_versions import MongoLetterVersions
from infra.mongodb.shipments import MongoShipments
from infra.mongodb.store import MongoStore
from worker.settings import Settings

_ID = re.compile(r"[0-9a-f-]{1,36}")
_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Letters:
    """The store, as the commands use it."""

    dead_letters: MongoDeadLetters
    shipments: MongoShipments
    edits: MongoLetterVersions

    async def full_id(self, text: str) -> str:
        """Return the one id that begins with `text`.

        Raises click.ClickException when there is none, or more than one.
        """
        wanted = text.strip().lower()
        found: Sequence[str] = ()
        if _ID.fullmatch(wanted):
            found = await self.dead_letters.ids_starting_with([wanted], limit=_CANDIDATES + 1)
        if not found:
            raise click.ClickException(f"no dead letter has an id that begins with {text!r}")
        if len(found) > 1:
            more = ["  … and others"] if len(found) > _CANDIDATES else []
            candidates = "\n".join([*(f"  {letter_id}" for letter_id in found[:_CANDIDATES]), *more])
            raise click.ClickException(f"several ids begin with {text!r}; which one?\n{candidates}")
        return found[0]


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[MongoStore]:
    """Open the store. Raises ConfigurationError when its address is not set."""
    store = MongoStore(
        settings.required("mongodb_uri"), database=settings.mongodb_database, timeout=settings.store_timeout
    )
    try:
        yield store
    finally:
        await store.close()


def letters_of(store: MongoStore) -> Letters:
    """Return the dead letters of an open store."""
    return Letters(MongoDeadLetters(store), MongoShipments(store), MongoLetterVersions(store))


@asynccontextmanager
async def open_letters(settings: Settings) -> AsyncIterator[Letters]:
    """Open the dead letters. Raises ConfigurationError when the store's address is not set."""
    async with open_store(settings) as store:
        yield letters_of(store)


def operator_name(settings: Settings) -> str:
    """Return who is at the keyboard: LOGISTICS_OPERATOR, else the user of the operating system."""
    if settings.operator:
        return settings.operator
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"
