"""An edit of a dead letter: what it changes, what may not be changed, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.domain.body_text import difference
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.delivery import is_foreign
from worker.domain.errors import EditRefusedError
from worker.domain.replay import Origin

_MAX_HEADER_NAME = 128
_MAX_HEADER_VALUE = 4_096
_MORE_ROUTING_KEYS = frozenset({"CC", "BCC"})


class EditResult(StrEnum):
    """What became of the sending of an edited letter."""

    SENT = "sent"
    NOT_SENT = "not_sent"
    """The broker refused the copy: the letter is open and keeps the edited body, which can be replayed."""
    UNKNOWN = "unknown"
    """The copy may have gone out. A worker reopens the letter after a minute unless its copy was taken before."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A checked edit that is not sent yet."""

    before: DeadLetterRecord
    after: DeadLetterRecord
    usual_origin: Origin
    """Where it would go unless sent elsewhere."""
    origin: Origin
    """Where the copy goes."""

    @property
    def body_changes(self) -> list[str]:
        """The bodies' difference, as lines of a unified diff."""
        return difference(self.before.body, self.after.body)

    @property
    def header_changes(self) -> dict[str, tuple[object, object]]:
        """What each changed header was and is; None where there was or is none."""
        names = sorted({*self.before.headers, *self.after.headers})
        pairs = {name: (self.before.headers.get(name), self.after.headers.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclass(frozen=True, slots=True)
class EditReport:
    """What sending an edit did."""

    result: EditResult
    replay_id: str
    version: int
    why: str | None = None
    """A sentence, where it was not sent."""


def check_header(name: str, value: str | None) -> None:
    """Raise EditRefusedError for a header that an operator may not set: the worker's own and the broker's are locked.

    None for `value` drops the header.
    """
    if not name or not name.isprintable() or len(name.encode()) > _MAX_HEADER_NAME:
        raise EditRefusedError(f"a header's name has 1 to {_MAX_HEADER_NAME} printable characters")
    if not is_foreign(name):
        raise EditRefusedError(f"the header {name!r} is locked: the worker and the broker keep their books in it")
    if value is not None and name in _MORE_ROUTING_KEYS:
        raise EditRefusedError(f"the header {name!r} can only be dropped: RabbitMQ reads further routing keys from it")
    if value is not None and len(value) > _MAX_HEADER_VALUE:
        raise EditRefusedError(f"the header {name!r} is too long: at most {_MAX_HEADER_VALUE:,} characters")


def with_headers(letter: DeadLetterRecord, changes: Mapping[str, str | None]) -> Mapping[str, object]:
    """Return the letter's headers with these changes; None drops one. Raises EditRefusedError."""
    headers = dict(letter.headers)
    for name, value in changes.items():
        check_header(name, value)
        if value is not None:
            headers[name] = value
        elif name in headers:
            del headers[name]
        else:
            raise EditRefusedError(f"there is no header {name!r} to drop")
    return headers
