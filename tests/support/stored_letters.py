"""Dead letters in memory that are kept as the store keeps them: as BSON."""

from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions

from infra.mongodb.letter_documents import letter_document, letter_from
from tests.support.fakes import FakeDeadLetters
from worker.domain.dead_letter import DeadLetterRecord

_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)


class StoredDeadLetters(FakeDeadLetters):
    """`IDeadLetters` in memory, by way of documents."""

    async def insert(self, letter: DeadLetterRecord) -> DeadLetterRecord | None:
        return await super().insert(stored(letter))

    async def replace(self, letter: DeadLetterRecord, *, expected: DeadLetterRecord) -> bool:
        return await super().replace(stored(letter), expected=expected)


def stored(letter: DeadLetterRecord) -> DeadLetterRecord:
    """Return the letter as it comes out of the store."""
    data = bson.encode({"_id": letter.id, **letter_document(letter)})
    assert len(data) < 16 * 1024 * 1024
    back = letter_from(bson.decode(data, _AWARE))
    assert bson.encode({"_id": back.id, **letter_document(back)}) == data, "stored again, it is another letter"
    assert without_headers(back) == without_headers(letter)
    assert set(back.headers) == {name.replace("\x00", "\N{REPLACEMENT CHARACTER}") for name in letter.headers}
    return back


def without_headers(letter: DeadLetterRecord) -> dict[str, object]:
    """Return the fields of a letter but its headers and its revision, times as the store keeps them."""
    fields = {
        name: getattr(letter, name)
        for name in DeadLetterRecord.__dataclass_fields__
        if name not in {"headers", "revision"}
    }
    return {name: in_milliseconds(value) if isinstance(value, datetime) else value for name, value in fields.items()}


def in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
