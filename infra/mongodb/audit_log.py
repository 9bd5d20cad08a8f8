"""The audit log in MongoDB: documents are inserted, never changed and never deleted."""

from collections.abc import Sequence
from datetime import datetime

from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError

from infra.mongodb.documents import safe_value
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.audit_entry import AuditEntry

_AFTER_DOT = chr(ord(".") + 1)


class MongoAuditLog:
    """`IAuditLog` on the collection `audit_log`: one document an action, a second one for its end."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("audit_log")

    async def begin(self, entry: AuditEntry) -> None:
        """Add an action."""
        await self._insert(
            {
                "_id": entry.id,
                "at": entry.at,
                "who": entry.who,
                "action": entry.action,
                "why": entry.why,
                "what": entry.what,
                "job_id": entry.job_id,
            }
        )

    async def finish(self, entry_id: str, *, count: int | None, result: str, now: datetime) -> None:
        """Add the end of an action."""
        await self._insert({"_id": _end_of(entry_id), "ended_at": now, "count": count, "result": result})

    async def entries(
        self,
        *,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
        who: str | None = None,
        action: str | None = None,
        job_id: str | None = None,
    ) -> Sequence[AuditEntry]:
        """Return the actions that match, newest first."""
        at = {"$exists": True, "$gte": since, "$lt": until}  # an end has none
        which: Document = {"at": {operator: value for operator, value in at.items() if value is not None}}
        which |= {name: {"$eq": value} for name, value in (("who", who), ("job_id", job_id)) if value is not None}
        if action is not None:
            which["$or"] = [
                {"action": {"$eq": action}},
                {"action": {"$gte": f"{action}.", "$lt": f"{action}{_AFTER_DOT}"}},
            ]
        with store_errors():
            cursor = self._collection.find(which).sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
            begun = [document async for document in cursor]
            cursor = self._collection.find({"_id": {"$in": [_end_of(document["_id"]) for document in begun]}})
            ends = {document["_id"]: document async for document in cursor}
        return [_entry_from(document, ends.get(_end_of(document["_id"]), {})) for document in begun]

    async def _insert(self, document: Document) -> None:
        with store_errors():
            try:
                await self._collection.insert_one({name: safe_value(value) for name, value in document.items()})
            except DuplicateKeyError:
                return  # it was written before the answer was lost


def _end_of(entry_id: str) -> str:
    return f"{entry_id}:end"


def _entry_from(document: Document, end: Document) -> AuditEntry:
    return AuditEntry(
        id=document["_id"],
        at=document["at"],
        who=document["who"],
        action=document["action"],
        why=document["why"],
        what=document["what"],
        job_id=document["job_id"],
        count=end.get("count"),
        result=end.get("result"),
    )
