"""What is typed to edit a dead letter: its body, the publisher's headers, and where the copy goes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

from infra.console.pages.kit import Tag
from worker.domain.body_text import laid_out
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.delivery import is_foreign
from worker.domain.errors import EditRefusedError
from worker.domain.replay import Origin

_MAX_BYTES = 200_000
"""A larger body is no text to type in: the command line takes a file."""


class EditFields:
    """The fields, filled in as the letter is now."""

    def __init__(self, letter: DeadLetterRecord, origin: Origin, on_change: Callable[[], Awaitable[None]]) -> None:
        """Make them, in two cards. `origin`: where the copy goes unless something else is typed."""
        self._origin = origin
        self._on_change = on_change
        self._texts = {name: str(value) for name, value in letter.headers.items() if _is_text(name, value)}
        self._body_before = _editable(letter.body)
        self._body: ui.textarea | None = None
        with Tag("section", classes="card"):
            self._make_body()
        with Tag("section", classes="card"), Tag("details"):
            Tag("summary", "Headers, and where the copy goes")
            self._headers = self._area("Headers", "\n".join(as_lines(self._texts)), rows=5)
            Tag("p", "A line for each, name=value; a line taken out drops the header. Those that the worker and the "
                "broker keep their books in, and those that are no text, stay as they are.", "soft small")  # fmt: skip
            with Tag("div", classes="line spaced"):
                self._exchange = self._field("Exchange", origin.exchange)
                self._key = self._field("Routing key", origin.routing_key)

    def wanted(self) -> dict[str, Any]:
        """Return what differs from the letter, as `EditDesk.prepare` takes it. Raises EditRefusedError."""
        wanted = dict[str, Any]()
        if self._body is not None and self._body.value != self._body_before:
            wanted["body"] = str(self._body.value or "").encode()
        if changes := header_changes(self._texts, str(self._headers.value or "")):
            wanted["headers"] = changes
        if (exchange := str(self._exchange.value or "")) != self._origin.exchange:
            wanted["exchange"] = exchange
        if (key := str(self._key.value or "")) != self._origin.routing_key:
            wanted["routing_key"] = key
        return wanted

    def _make_body(self) -> None:
        Tag("h2", "Body")
        if self._body_before is None:
            Tag("p", "This body is no text, or too long to type in: 'logistics dead-letters edit ID --file' takes a "
                "file.", "soft")  # fmt: skip
        else:
            self._body = self._area("Body", self._body_before, rows=18)

    def _area(self, label: str, text: str, *, rows: int) -> ui.textarea:
        typed = ui.textarea(value=text, on_change=self._on_change).classes("typed")
        return typed.props(f'outlined aria-label="{label}" spellcheck=false rows={rows} debounce=300')

    def _field(self, label: str, text: str) -> ui.input:
        typed = ui.input(label, value=text, on_change=self._on_change).classes("typed")
        return typed.props(f'outlined dense aria-label="{label}" spellcheck=false debounce=300')


def as_lines(headers: Mapping[str, str]) -> list[str]:
    """Return the headers as they are typed, by name."""
    return [f"{name}={value}" for name, value in sorted(headers.items())]


def header_changes(before: Mapping[str, str], text: str) -> dict[str, str | None]:
    """Return what the typed lines change; None drops a header. Raises EditRefusedError for a line that is none."""
    after: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not name.strip():
            raise EditRefusedError(f"write a header as name=value, not {line.strip()!r}")
        if name.strip() in after:
            raise EditRefusedError(f"the header {name.strip()!r} is there twice")
        after[name.strip()] = value
    dropped = {name: None for name in before if name not in after}
    return dropped | {name: value for name, value in after.items() if before.get(name) != value}


def _is_text(name: str, value: object) -> bool:
    """Whether a header fits on a line of its own and is the publisher's to change."""
    return is_foreign(name) and isinstance(value, str) and value.isprintable() and "=" not in name


def _editable(body: bytes) -> str | None:
    """Return the body as text to edit, laid out where that changes white space only; None when it is none."""
    if len(body) > _MAX_BYTES:
        return None
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    pretty = laid_out(body)
    return text if pretty is None else "\n".join(pretty)
