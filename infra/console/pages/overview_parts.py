"""The lower parts of the first page: queues, delays, dead letters by reason."""

from collections.abc import Callable, Mapping, Sequence

from nicegui.element import Element

from infra.console.pages.kit import Live, Tag, link, table
from infra.console.pages.letter_filter import HOME as LETTERS
from infra.console.pages.text import UNKNOWN, number
from infra.console.pages.words import words
from worker.overview_picture import QueueView


class Queues:
    """The queues that workers consume."""

    def __init__(self) -> None:
        with Tag("section", classes="card flush"):
            Tag("h2", "Queues")
            with table("Queues", "Queue", "Waiting|num", "In flight|num", "Consumers|num") as body:
                self._rows = Live(body, _queue)

    def show(self, queues: Sequence[QueueView]) -> None:
        """Show them as they are now."""
        self._rows.show({queue.name: queue for queue in queues})


def _queue(queue: QueueView) -> tuple[Element, Callable[[QueueView], None]]:
    with Tag("tr") as row:
        Tag("td", queue.name, "mono")
        cells = [Tag("td", "", "num") for _ in range(3)]

    def refresh(now: QueueView) -> None:
        texts = [number(now.ready), number(now.unacknowledged), number(now.consumers)]
        for cell, text in zip(cells, ["missing", "", ""] if now.exists is False else texts, strict=True):
            cell.say(text)
        cells[2].look("num bad strong" if now.consumers == 0 else "num")

    return row, refresh


class Delays:
    """What waits for another try, by delay."""

    def __init__(self) -> None:
        with Tag("section", classes="card flush"):
            Tag("h2", "Waiting for another try")
            with table("Delays", "After", "Orders|num", "Delivery notices|num") as body:
                self._rows = Live(body, _delay)

    def show(self, orders: Mapping[str, int | None] | None, notices: Mapping[str, int | None] | None) -> None:
        """Show them as they are now."""
        notices = notices or {}
        self._rows.show({delay: (delay, count, notices.get(delay)) for delay, count in (orders or {}).items()})


_Delayed = tuple[str, int | None, int | None]


def _delay(delayed: _Delayed) -> tuple[Element, Callable[[_Delayed], None]]:
    with Tag("tr") as row:
        Tag("td", delayed[0])
        orders, notices = Tag("td", "", "num"), Tag("td", "", "num")

    def refresh(now: _Delayed) -> None:
        orders.say(number(now[1]))
        notices.say(number(now[2]))

    return row, refresh


class DeadLetters:
    """The open ones, by reason."""

    def __init__(self) -> None:
        with Tag("section", classes="card"):
            Tag("h2", "Dead letters open, by reason")
            self._none = Tag("p", "", "soft")
            self._rows = Live(Tag("div", classes="reasons"), _reason)

    def show(self, by_reason: Mapping[str, int] | None) -> None:
        """Show them as they are now."""
        self._none.say(UNKNOWN if by_reason is None else "None.").put(hidden=bool(by_reason))
        most = max((by_reason or {}).values(), default=1)
        ordered = sorted((by_reason or {}).items(), key=lambda item: (-item[1], item[0]))
        self._rows.show({reason: (reason, count, count / most) for reason, count in ordered})


_Reason = tuple[str, int, float]


def _reason(shown: _Reason) -> tuple[Element, Callable[[_Reason], None]]:
    with link(None, f"{LETTERS}?reason={shown[0]}", "reason") as row:
        Tag("span", words(shown[0]))
        count = Tag("strong", "", "right")
        with Tag("span", classes="meter", aria_hidden="true"):
            bar = Tag("i", classes="is-bad")

    def refresh(now: _Reason) -> None:
        count.say(number(now[1]))
        bar.style(f"width: {100 * now[2]:.1f}%")

    return row, refresh
