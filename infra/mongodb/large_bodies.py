"""Bodies too large to share one document of at most 16 MB with the rest, kept in pieces beside their dead letter."""

import hashlib

from bson import Binary

from infra.mongodb.store import Document, MongoStore, store_errors
from worker.domain.errors import LogisticsError

PIECE = 12 * 1024 * 1024
"""Bytes of a body that one document holds."""


class LargeBodies:
    """The collection `dead_letter_bodies`: the pieces of a body, by dead letter, content and number.

    Named by their content, so that a letter's earlier bodies are never written over by its later ones.
    """

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("dead_letter_bodies")

    async def fields_for(self, letter_id: str, body: bytes) -> Document:
        """Return the fields of a document that hold this body of the letter; pieces of a large one are stored first.

        Safe to repeat. Raises StoreUnavailableError.
        """
        if len(body) <= PIECE:
            return {"body": Binary(body), "body_pieces": None, "body_key": None}
        key = f"{letter_id}:{hashlib.sha256(body).hexdigest()}"
        pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
        with store_errors():
            for number, piece in enumerate(pieces):
                await self._collection.update_one(
                    {"_id": f"{key}:{number}"},
                    {
                        "$set": {"letter_id": letter_id, "number": number, "piece": Binary(piece)},
                        "$currentDate": {"kept_at": True},
                    },
                    upsert=True,
                )
        return {"body": Binary(b""), "body_pieces": len(pieces), "body_key": key}

    async def body_of(self, letter_id: str, document: Document) -> bytes:
        """Return the body that a document holds. Raises StoreUnavailableError; LogisticsError when a piece is gone."""
        if not document.get("body_pieces"):
            return bytes(document["body"])
        key = document.get("body_key") or letter_id  # before there were several bodies of a letter
        body = bytearray()
        with store_errors():
            for number in range(document["body_pieces"]):
                found = await self._collection.find_one({"_id": f"{key}:{number}"})
                if found is None:
                    raise LogisticsError(f"piece {number} of the body of dead letter {letter_id} is missing")
                body += found["piece"]
        return bytes(body)
