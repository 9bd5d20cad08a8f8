"""Spans, for whoever collects them: the port, and the nothing that is used when nobody does.

The trace context travels without it (`worker.domain.trace`). A span only tells what happened on the way, and a message
that is sent within one carries its id, so that the next delivery can say what it follows.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol, Self

from worker.domain.delivery import Delivery
from worker.domain.outcome import Outcome
from worker.domain.trace import TraceContext

_NO_HEADERS: Mapping[str, object] = {}


class ISpan(Protocol):
    """Something that is being done."""

    @property
    def traceparent(self) -> str | None:
        """This span, for what is called within it; None when it is not recorded."""
        ...

    @property
    def carried(self) -> Mapping[str, object]:
        """Headers for a message that is sent within it; none when it is not recorded."""
        ...

    def came_to(self, outcome: Outcome) -> None:
        """Note what is to become of a delivery. Only a dead letter is an error."""
        ...

    def answered(self, status: int) -> None:
        """Note the status of an answer."""
        ...


class ITracing(Protocol):
    """Where spans come from. What is done within a span's block, in the same task, is its child."""

    def process(self, queue: str, delivery: Delivery, *, tag: int | None = None) -> AbstractContextManager[ISpan]:
        """Begin the span of one delivery, from taking it to its settlement: a child of its publisher's span.

        It links to the span that sent the message: the try before, or the replay. `tag`: the delivery tag.
        """
        ...

    def publish(
        self,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        trace: TraceContext | None = None,
        previous: str | None = None,
    ) -> AbstractContextManager[ISpan]:
        """Begin the span of a publish. An exception that leaves it means that it was given up.

        `trace`: the message's, where the publish is no part of a span already. `previous`: the traceparent of the span
        that sent the message before, for a replay.
        """
        ...

    def request(self, method: str, url: str) -> AbstractContextManager[ISpan]:
        """Begin the span of an HTTP request. `url`: without user and password. Only a final no is an error."""
        ...

    def close(self, *, timeout: float) -> bool:
        """Hand over what is still here, for at most so many seconds; return whether it was done."""
        ...


class _Nothing:
    """A span that nobody looks at."""

    traceparent: str | None = None
    carried = _NO_HEADERS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def came_to(self, outcome: Outcome) -> None:
        """Do nothing."""

    def answered(self, status: int) -> None:
        """Do nothing."""


class _NoTracing:
    """`ITracing` for nobody."""

    def __init__(self) -> None:
        self._nothing = _Nothing()

    def process(self, queue: str, delivery: Delivery, *, tag: int | None = None) -> AbstractContextManager[ISpan]:
        """Do nothing."""
        del queue, delivery, tag
        return self._nothing

    def publish(
        self,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        trace: TraceContext | None = None,
        previous: str | None = None,
    ) -> AbstractContextManager[ISpan]:
        """Do nothing."""
        del exchange, routing_key, body, trace, previous
        return self._nothing

    def request(self, method: str, url: str) -> AbstractContextManager[ISpan]:
        """Do nothing."""
        del method, url
        return self._nothing

    def close(self, *, timeout: float) -> bool:
        """Do nothing."""
        del timeout
        return True


NO_TRACING: ITracing = _NoTracing()
