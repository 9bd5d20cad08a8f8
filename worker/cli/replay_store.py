"""What the replay commands work on, opened for one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from infra.mongodb.audit_log import MongoAuditLog
from infra.mongodb.replay_items import MongoReplayItems
from infra.mongodb.replay_jobs import MongoReplayJobs
from infra.mongodb.workers import MongoWorkerReports
from infra.telemetry.logs import setup_logging
from worker.cli.dead_letter_store import Letters, letters_of, open_store
from worker.domain.audit import Audit
from worker.domain.replay_job import TROUBLED, ReplayItem
from worker.domain.replay_jobs import ReplayJobs
from worker.domain.selection import Selection
from worker.fleet import Fleet
from worker.settings import Settings, load_settings

_MOST_LETTERS = 1000


@dataclass(frozen=True, slots=True)
class Desk:
    """The services of one command."""

    letters: Letters
    jobs: ReplayJobs
    items: MongoReplayItems
    fleet: Fleet
    audit_log: MongoAuditLog

    async def with_full_ids(self, selection: Selection, ids: tuple[str, ...]) -> Selection:
        """Return the selection with the whole ids of these beginnings."""
        full = [await self.letters.full_id(text) for text in ids]
        return replace(selection, ids=tuple(dict.fromkeys(full)))

    async def troubled(self, job_id: str) -> list[ReplayItem]:
        """Return the letters of a job that have not ended well, the first thousand."""
        return [item async for item in self.items.of_job(job_id, states=TROUBLED, limit=_MOST_LETTERS)]


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """Open the store. Raises ConfigurationError when its address is not set."""
    async with open_store(settings) as store:
        letters, items, audit_log = letters_of(store), MongoReplayItems(store), MongoAuditLog(store)
        yield Desk(
            letters=letters,
            jobs=ReplayJobs(
                letters=letters.dead_letters,
                jobs=MongoReplayJobs(store),
                items=items,
                audit=Audit(audit_log),
            ),
            items=items,
            fleet=Fleet(MongoWorkerReports(store)),
            audit_log=audit_log,
        )


def quiet_settings() -> Settings:
    """Return the settings of a command that speaks for itself: log lines are for errors."""
    settings = load_settings()
    setup_logging("ERROR")
    return settings
