"""The demo's orders: what is published, and what should become of it."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A kind of order in the demo."""

    GOOD = "good"
    FLAKY = "fails, then recovers"
    REFUSED = "refused"
    MALFORMED = "malformed"
    OUTAGE = "placed in the outage"
    NORTH = "north warehouse down"


@dataclass(frozen=True, slots=True)
class DemoOrder:
    """One message to publish."""

    kind: Kind
    name: str
    """The order id and the trace id."""
    body: bytes


SUPPLIER_RULES = [
    {"match": "demo-flaky-*", "fail_first": 1},
    {"match": "demo-refused-*", "refuse": True},
]
NORTH_DOWN = {"match": "demo-north-*", "status": 500}

_CITIES = ("Oslo", "Bergen", "Porto", "Turin", "Gdansk", "Lyon", "Ghent", "Malmo")
_BROKEN = (
    b"not json at all",
    b'\xef\xbb\xbf{"order_id": "demo-bom", "destination": "Oslo"}',
    b'{"order_id": "demo-no-destination"}',
    b'{"order_id": true, "destination": "Oslo"}',
    b'{"order_id": "a", "order_id": "b", "destination": "Oslo"}',
    b"[1, 2, 3]",
    b"\xff\xfe",
    b'{"order_id": "", "destination": "Oslo"}',
)


def normal_day(total: int) -> list[DemoOrder]:
    """Return mixed orders in random order: good, flaky, refused and malformed ones."""
    flaky, refused, malformed = total * 8 // 100, total * 5 // 100, total * 6 // 100
    orders = [
        *_orders(Kind.FLAKY, "flaky", flaky),
        *_orders(Kind.REFUSED, "refused", refused),
        *(
            DemoOrder(Kind.MALFORMED, f"demo-malformed-{number:04}", _BROKEN[number % len(_BROKEN)])
            for number in range(malformed)
        ),
    ]
    orders += _orders(Kind.GOOD, "good", total - len(orders))
    random.Random(7).shuffle(orders)  # noqa: S311 - a demo's order, no secret
    return orders


def outage(total: int) -> list[DemoOrder]:
    """Return good orders to publish while the supplier is down."""
    return list(_orders(Kind.OUTAGE, "outage", total))


def north_down(north: int, others: int) -> list[DemoOrder]:
    """Return orders of which some go to the warehouse that is down, evenly among the others."""
    good, bad = list(_orders(Kind.GOOD, "later", others)), list(_orders(Kind.NORTH, "north", north))
    step = max(len(good) // max(len(bad), 1), 1)
    mixed: list[DemoOrder] = []
    for number, order in enumerate(good):
        if number % step == 0 and bad:
            mixed.append(bad.pop())
        mixed.append(order)
    return mixed + bad


def _orders(kind: Kind, name: str, count: int) -> Iterator[DemoOrder]:
    for number in range(count):
        order_id = f"demo-{name}-{number:04}"
        body = {"order_id": order_id, "destination": _CITIES[number % len(_CITIES)], "gift": number % 7 == 0}
        yield DemoOrder(kind, order_id, json.dumps(body).encode())
