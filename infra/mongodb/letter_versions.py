"""The earlier bodies of dead letters in MongoDB, and the claim that puts an edited one in place."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from infra.mongodb.documents import original_value, safe_value
from infra.mongodb.large_bodies import LargeBodies
from infra.mongodb.letter_moves import move_to
from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_version import LetterVersion
from worker.domain.selection import DeadLetterState


class MongoLetterVersions:
    """`ILetterEdits` on the collections `dead_letter_versions` and `dead_letters`."""

    def __init__(self, store: MongoStore) -> None:
        self._versions = store.collection("dead_letter_versions")
        self._letters = store.collection("dead_letters")
        self._large_bodies = LargeBodies(store)

    async def keep(self, version: LetterVersion) -> None:
        """Keep a body under its letter and number; keeping it again writes the same."""
        fields = asdict(version)
        document: Document = {
            **{name: safe_value(value) for name, value in fields.items() if name != "body"},
            **await self._large_bodies.fields_for(version.letter_id, version.body),
        }
        with store_errors():
            await self._versions.update_one(
                {"_id": f"{version.letter_id}:{version.number}"},
                {"$set": document, "$currentDate": {"kept_at": True}},
                upsert=True,
            )

    async def versions(self, letter_id: str) -> Sequence[LetterVersion]:
        """Return what was kept of a letter, without the bodies."""
        with store_errors():
            cursor = self._versions.find({"letter_id": {"$eq": letter_id}}, {"body": False}).sort("number")
            return [_version_from(document, b"") async for document in cursor]

    async def version(self, letter_id: str, number: int) -> LetterVersion | None:
        """Return one body that was kept."""
        with store_errors():
            document = await self._versions.find_one({"_id": f"{letter_id}:{number}"})
        if document is None:
            return None
        return _version_from(document, await self._large_bodies.body_of(letter_id, document))

    async def claim_edited(self, edited: DeadLetterRecord, *, replay_id: str, by: str, why: str, now: datetime) -> bool:
        """Take the letter to `replaying` with its new body, if it is open and as it was read."""
        body = await self._large_bodies.fields_for(edited.id, edited.body)
        update = move_to(
            DeadLetterState.REPLAYING,
            {"event": "edited", "replay_id": replay_id, "by": by, "note": why},
            {"event": "replayed", "replay_id": replay_id, "by": by},
            now=now,
            also={
                **body,
                "headers": safe_value(edited.headers),
                "order_id": edited.order_id,
                "version": edited.version,
                "replay_id": replay_id,
                "job_id": None,
                "replay": {"claimed_at": now, "confirmed_at": None, "taken_at": None},
            },
        )
        which = {"_id": edited.id, "state": str(DeadLetterState.OPEN), "revision": edited.revision}
        with store_errors():
            result = await self._letters.update_one(which, update)
        return bool(result.modified_count)


def _version_from(document: Document, body: bytes) -> LetterVersion:
    plain = {name: document.get(name) for name in LetterVersion.__dataclass_fields__}
    return LetterVersion(**{**plain, "headers": original_value(document["headers"]), "body": body})
