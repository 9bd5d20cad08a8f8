"""Forms that make an address: what is filled in stands in it, so the page can be sent and comes back as it was."""

from collections.abc import Sequence

from infra.console.pages.kit import Tag
from infra.console.pages.words import words


def filter_form(home: str, label: str) -> Tag:
    """Make such a form."""
    return Tag("form", classes="bar", method="get", action=home, role="search", aria_label=label)


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


def field(label: str, name: str, value: str, example: str = "") -> None:
    """Make a field to type in. On a phone it is there only when it has a value."""
    with Tag("label", classes="labelled" if value else "labelled roomy"):
        Tag("span", label)
        typed = Tag("input", classes="field short", name=name, autocomplete="off", placeholder=example or None)
        typed.props["^value"] = value  # as an attribute: as a property it would overwrite what is being typed
