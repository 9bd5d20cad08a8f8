"""Plain HTML elements that change while people look at them. NiceGUI carries the changes to the browser."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from nicegui.element import Element

from infra.console.pages.text import iso, spark

T = TypeVar("T")
Value = str | Callable[[], object]
"""A text, or a function that makes elements."""


class Tag(Element):
    """One HTML element. Attributes are given as Python names: `aria_label`, `for_`; None and False leave one out."""

    def __init__(self, tag: str, text: str | None = None, classes: str = "", **attributes: object) -> None:
        super().__init__(tag)
        self._text = text
        self.classes(classes)
        with self.props.suspend_updates():
            self.put(**attributes)

    def say(self, text: str) -> Self:
        """Show another text."""
        if text != self._text:
            self._text = text
            self.update()
        return self

    def put(self, **attributes: object) -> Self:
        """Set attributes; None or False removes one."""
        for name, value in attributes.items():
            attribute = name.rstrip("_").replace("_", "-")
            if value is None or value is False:
                self.props.pop(attribute, None)
            elif self.props.get(attribute) != value:
                self.props[attribute] = value
        return self

    def look(self, classes: str) -> Self:
        """Have exactly these classes."""
        if classes.split() != list(self.classes):
            self.classes(replace=classes)
        return self


def link(text: str | None, href: str, classes: str = "", **attributes: object) -> Tag:
    """Make a link."""
    return Tag("a", text, classes, href=href, **attributes)


def button(
    text: str,
    action: Callable[[], Awaitable[None] | None] | None = None,
    classes: str = "",
    *,
    script: str | None = None,
    **attributes: object,
) -> Tag:
    """Make a button. While its action runs, which is once at a time, it is disabled. `script`: what the browser does
    instead."""
    made = Tag("button", text, f"btn {classes}", type="button", **attributes)
    if action is not None:
        on(made, "click", lambda _: _once(made, action))
    if script is not None:
        made.on("click", js_handler=f"() => {script}")
    return made


def on(tag: Element, event: str, handler: Callable[[Any], Awaitable[None] | None], script: str = "null") -> None:
    """Call the handler with what the script returns in the browser, where `e` is the event."""
    tag.on(event, lambda happened: handler(happened.args), js_handler=f"(e) => emit({script})")


async def _once(made: Tag, action: Callable[[], Awaitable[None] | None]) -> None:
    made.put(disabled=True)
    try:
        doing = action()
        if doing is not None:
            await doing
    finally:
        if not made.is_deleted:
            made.put(disabled=False)


def when(moment: datetime, form: str = "clock") -> Tag:
    """Show an instant in the reader's zone: `clock`, or `ago`, which goes on counting."""
    return Tag("local-time", datetime=iso(moment), form=form)


def left(seconds: float) -> Tag:
    """Show a countdown, which the browser goes on with."""
    return Tag("local-time", seconds=f"{seconds:.1f}", form="left")


class Spark:
    """A small chart."""

    def __init__(self, label: str, classes: str = "") -> None:
        """`label`: what it shows, for those who do not see it."""
        with Tag(
            "svg", classes=f"spark {classes}", viewBox="0 0 120 24", preserveAspectRatio="none", role="img",
            aria_label=label,
        ):  # fmt: skip
            self._under = Tag("path", classes="under")
            self._line = Tag("path")

    def show(self, values: Sequence[float | None]) -> None:
        """Draw these values, the oldest first; None where nothing is known."""
        line, under = spark(values)
        self._line.put(d=line)
        self._under.put(d=under)


class Live(Generic[T]):
    """Children of one element, one for each item. Those that stay keep their place in the browser, and the focus."""

    def __init__(self, parent: Element, make: Callable[[T], tuple[Element, Callable[[T], None]]]) -> None:
        """`make`: makes the element of an item, and returns it with what shows the item's newer state in it."""
        self._parent = parent
        self._make = make
        self._parts: dict[str, tuple[Element, Callable[[T], None]]] = {}

    def show(self, items: Mapping[str, T]) -> None:
        """Show these items, in this order."""
        for key in [key for key in self._parts if key not in items]:
            self._parent.remove(self._parts.pop(key)[0])
        for place, (key, item) in enumerate(items.items()):
            if key not in self._parts:
                with self._parent:
                    self._parts[key] = self._make(item)
            element, refresh = self._parts[key]
            refresh(item)
            if self._parent.default_slot.children[place] is not element:
                element.move(target_index=place)


def table(label: str, *columns: str, picks: bool = False, classes: str = "") -> Tag:
    """Make a table and return its body. A column's name may be followed by classes: `Count|num`.

    `picks`: the first column holds boxes (`input.pick`) to pick rows with. `classes`: `folding` has a row be several
    lines on a phone, of the cells `lead`, `side` (both in the first line) and `under`.
    """
    look = f"grid {classes}"
    with Tag("div", classes="scroll", role="region", aria_label=label, tabindex="0"), Tag("table", classes=look):
        with Tag("thead"), Tag("tr"):
            if picks:
                with Tag("td", classes="pick-cell"):
                    Tag("input", classes="pick-all", type="checkbox", aria_label="Select all rows")
            for column in columns:
                name, _, classes = column.partition("|")
                Tag("th", name, classes, scope="col")
        return Tag("tbody")


def chip(text: str, look: str = "") -> Tag:
    """Make a small label; `look`: `is-good`, `is-warn`, `is-bad` or none."""
    return Tag("span", text, f"chip {look}")


def empty(title: str, advice: str) -> None:
    """Say that there is nothing, and what that means or what to do."""
    with Tag("div", classes="empty"):
        Tag("strong", title)
        Tag("span", advice)


def facts(pairs: Mapping[str, Value]) -> None:
    """List names and values; a value may be a function that makes elements."""
    with Tag("dl", classes="facts"):
        for name, value in pairs.items():
            Tag("dt", name)
            if isinstance(value, str):
                Tag("dd", value)
            else:
                with Tag("dd"):
                    value()
