"""Reading the worker's own headers of a message, which anybody may have written."""

import uuid
from collections.abc import Mapping

_MAX_TEXT = 255
_MAX_COUNT = 1_000_000


def usable_text(value: object) -> str | None:
    """Return a short text fit for a header and a document, None otherwise."""
    if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable():
        return value
    return None


class HeaderReader:
    """Reads own headers, noting the names of those that make no sense."""

    def __init__(self, headers: Mapping[str, object]) -> None:
        self._headers = headers
        self.ignored: list[str] = []

    def count(self, name: str) -> int | None:
        return self._integer(name, at_most=_MAX_COUNT)

    def milliseconds(self, name: str) -> int | None:
        return self._integer(name, at_most=253_402_300_799_000)  # the end of the year 9999, the last BSON date we read

    def text(self, name: str) -> str | None:
        value = self._headers.get(name)
        usable = usable_text(value)
        if value not in (None, "") and usable is None:
            self.ignored.append(name)
        return usable

    def identifier(self, name: str) -> str | None:
        text = self.text(name)
        try:
            return None if text is None else str(uuid.UUID(text))
        except ValueError:
            self.ignored.append(name)
            return None

    def _integer(self, name: str, *, at_most: int) -> int | None:
        value = self._headers.get(name)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= at_most:
            return value
        self.ignored.append(name)
        return None
