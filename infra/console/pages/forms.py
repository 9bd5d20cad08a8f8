"""Forms that make an address: what is filled in stands in it, so the page can be sent and comes back as it was."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from infra.console.pages.kit import Tag, link
from infra.console.pages.words import words

_TIME = "such as 2h or 3d for so long ago, or a date and time in your zone: 2026-01-31 14:00"


@contextmanager
def filter_form(home: str, label: str, given: Mapping[str, str]) -> Iterator[None]:
    """Make such a form around what the block makes, with its buttons. On a phone it is folded away.

    `given`: what the address sets now.
    """
    with Tag("filter-fold"), Tag("details", classes="filters"):
        Tag("summary", f"Filter: {len(given)} set" if given else "Filter")
        with Tag("form", classes="bar", method="get", action=home, role="search", aria_label=label):
            yield
            Tag("button", "Filter", "btn main", type="submit")
            if given:
                link("Clear", home, "btn plain")


def choice(label: str, name: str, values: Sequence[str], chosen: str) -> None:
    """Make a list to choose from; an empty value is called `any`."""
    with Tag("label", classes="labelled"):
        Tag("span", label)
        with Tag("select", classes="field", name=name):
            for value in values:
                option = Tag("option", words(value) or "any")
                option.props["^value"] = value
                if value == chosen:
                    option.props["^selected"] = ""


def field(label: str, name: str, value: str) -> None:
    """Make a field to type in."""
    _typed(label, name, value)


def time_field(label: str, name: str, value: str) -> None:
    """Make a field for a time, typed and shown in the reader's zone; in the address it is in UTC."""
    typed = _typed(label, name, value)
    typed.put(data_time=True, title=_TIME, placeholder="2h, 2026-01-31")


def _typed(label: str, name: str, value: str) -> Tag:
    with Tag("label", classes="labelled"):
        Tag("span", label)
        typed = Tag("input", classes="field short", name=name, autocomplete="off")
    typed.props["^value"] = value  # as an attribute: as a property it would overwrite what is being typed
    return typed
