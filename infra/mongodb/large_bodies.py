"""Bodies too large to share one document of at most 16 MB with the rest, kept in pieces beside their dead letter."""

from bson import Binary

from infra.mongodb.store import MongoStore, store_errors
from worker.domain.errors import LogisticsError

PIECE = 12 * 1024 * 1024
"""Bytes of a body that one document holds."""


class LargeBodies:
    """The collection `dead_letter_bodies`: the pieces of a body, by dead letter and number."""

    def __init__(self, store: MongoStore) -> None:
        self._collection = store.collection("dead_letter_bodies")

    @staticmethod
    def is_large(body: bytes) -> bool:
        """Whether the body has to be kept in pieces."""
        return len(body) > PIECE

    async def keep(self, letter_id: str, body: bytes) -> int:
        """Store the pieces; return how many. Safe to repeat: a letter's id is made from its body.

        Raises StoreUnavailableError.
        """
        pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
        with store_errors():
            for number, piece in enumerate(pieces):
                document = {"letter_id": letter_id, "number": number, "piece": Binary(piece)}
                await self._collection.replace_one({"_id": f"{letter_id}:{number}"}, document, upsert=True)
        return len(pieces)

    async def fetch(self, letter_id: str, pieces: int) -> bytes:
        """Return the body put together again. Raises StoreUnavailableError; LogisticsError when a piece is gone."""
        body = bytearray()
        with store_errors():
            for number in range(pieces):
                document = await self._collection.find_one({"_id": f"{letter_id}:{number}"})
                if document is None:
                    raise LogisticsError(f"piece {number} of the body of dead letter {letter_id} is missing")
                body += document["piece"]
        return bytes(body)
