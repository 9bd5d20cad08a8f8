"""The numbers that matter, readable at arm's length, with how they went."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.console.pages.kit import Spark, Tag, link
from infra.console.pages.letter_filter import HOME as LETTERS
from infra.console.pages.text import UNKNOWN, number, rate, span
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import ShipmentStatus
from worker.feed import LivePicture
from worker.history import History
from worker.overview_picture import CONSUMED
from worker.overview_words import oldest_in_words

_SHIPPED = (ShipmentStatus.SHIPPED, ShipmentStatus.DELIVERED)


@dataclass(frozen=True, slots=True)
class _Figure:
    """What a tile shows at one moment."""

    number: str
    unit: str = ""
    more: str = ""


class Tiles:
    """All of them."""

    def __init__(self) -> None:
        with Tag("section", classes="tiles", aria_label="Numbers"):
            self._tiles = [_Tile(*tile) for tile in _TILES]

    def draw(self, history: History) -> None:
        """Draw how the numbers went."""
        for tile in self._tiles:
            tile.draw(history)

    def show(self, picture: LivePicture) -> None:
        """Show the numbers of a picture."""
        for tile in self._tiles:
            tile.show(picture)


class _Tile:
    def __init__(self, name: str, href: str | None, line: str, read: Callable[[LivePicture], _Figure]) -> None:
        """`line`: the name of its line in the history."""
        self._line = line
        self._read = read
        with link(None, href, "tile") if href is not None else Tag("div", classes="tile"):
            Tag("span", name, "name")
            with Tag("span", classes="number"):
                self._number = Tag("span", UNKNOWN)
                self._unit = Tag("small", "")
            self._more = Tag("span", "", "more")
            self._spark = Spark(f"{name}: how it went")

    def draw(self, history: History) -> None:
        self._spark.show(history.lines[self._line])

    def show(self, picture: LivePicture) -> None:
        figure = self._read(picture)
        self._number.say(figure.number)
        self._unit.say(f" {figure.unit}" if figure.unit else "")
        self._more.say(figure.more).put(title=figure.more or None)


def _waiting(picture: LivePicture) -> _Figure:
    work = next(queue for queue in picture.overview.queues if queue.name == CONSUMED[0])
    oldest = picture.overview.oldest_waiting
    more = oldest_in_words(oldest) if oldest.waiting else "none waiting"
    return _Figure(number(work.ready), more=f"oldest: {more}" if oldest.waiting else more)


def _in_flight(picture: LivePicture) -> _Figure:
    workers = [worker for worker in picture.overview.workers or () if not worker.lost]
    if picture.overview.workers is None:
        return _Figure(UNKNOWN)
    held = sum(sum(worker.in_flight.values()) for worker in workers)
    return _Figure(number(held), more=f"at {len(workers)} worker{'' if len(workers) == 1 else 's'}")


def _delayed(picture: LivePicture) -> _Figure:
    delayed = picture.overview.delayed
    if delayed is None:
        return _Figure(UNKNOWN)
    known = {delay: count for delay, count in delayed.items() if count}
    return _Figure(
        number(sum(known.values())), more=", ".join(f"{count:,} for {delay}" for delay, count in known.items())
    )


def _dead_letters(picture: LivePicture) -> _Figure:
    states = picture.overview.dead_letters
    if states is None:
        return _Figure(UNKNOWN)
    replaying = states.get(DeadLetterState.REPLAYING, 0)
    return _Figure(
        number(states.get(DeadLetterState.OPEN, 0)), more=f"{replaying:,} being replayed" if replaying else ""
    )


def _published(picture: LivePicture) -> _Figure:
    return _Figure(rate(picture.rates.published), "/ s")


def _shipped(picture: LivePicture) -> _Figure:
    counts = picture.overview.shipments
    total = "" if counts is None else f"{sum(counts.get(status, 0) for status in _SHIPPED):,} in all"
    return _Figure(rate(picture.rates.shipped), "/ s", total)


def _failed(picture: LivePicture) -> _Figure:
    rates = picture.rates
    more = f"retried {rate(rates.retried)}, deferred {rate(rates.deferred)}"
    return _Figure(rate(rates.failed), "/ s", "" if rates.retried is None else more)


def _to_shipped(picture: LivePicture) -> _Figure:
    rates = picture.rates
    if rates.to_shipped_p50 is None:
        return _Figure(UNKNOWN, more="nothing shipped within a minute")
    return _Figure(span(rates.to_shipped_p50), more=f"95 % within {span(rates.to_shipped_p95)}")


_TILES: Sequence[tuple[str, str | None, str, Callable[[LivePicture], _Figure]]] = (
    ("Waiting", None, "waiting", _waiting),
    ("In flight", "/workers", "in_flight", _in_flight),
    ("Delayed", None, "delayed", _delayed),
    ("Dead letters open", LETTERS, "open_letters", _dead_letters),
    ("Published", None, "published", _published),
    ("Shipped", None, "shipped", _shipped),
    ("Failed", LETTERS, "failed", _failed),
    ("Publish to shipped", None, "to_shipped_p95", _to_shipped),
)
