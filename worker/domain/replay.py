"""Replay: open dead letters go out again, each as one fresh copy, to where they came from first.

One letter: claim (open → replaying), publish and await the confirm, note that the copy is out. The copy carries
`dead_letter_id` and `replay_id`, by which the worker that ships or fails it closes the loop.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from worker.domain.core import utc_now
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.delivery import Delivery, MessageState
from worker.domain.delivery_notice import NOTICE_EXCHANGE, NOTICE_KEY
from worker.domain.errors import BrokerUnavailableError, PublishError, StoreUnavailableError
from worker.domain.outcome import DeadLetterReason
from worker.domain.ports import IDeadLetters, IReplayPublisher
from worker.domain.replay_report import (
    PlannedGroup,
    Replayed,
    ReplayOutcome,
    ReplayPlan,
    ReplayReport,
    ReplayResult,
    outcome_of,
)
from worker.domain.selection import DeadLetterState, Selection
from worker.domain.shipment import describe_error

IN_FLIGHT = 20
"""Letters that are being sent at once: enough to share the store's and the broker's waits, few to lose sight of."""

_EVERYTHING = 2**31 - 1
_LOOK_UP = 500
_WHY_NOT = {
    DeadLetterState.OPEN: "is being replayed by somebody else",  # it was a moment ago, and failed again since
    DeadLetterState.REPLAYING: "is being replayed by somebody else",
    DeadLetterState.RESOLVED: "is resolved already",
    DeadLetterState.DISCARDED: "is discarded",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message was published first."""

    exchange: str
    routing_key: str


def origin_of(letter: DeadLetterRecord, *, default: Origin) -> Origin:
    """Return where the letter's copy goes: where the message came from, `default` where nobody noted that.

    A message somebody put into the dead-letter queue by hand has no origin but that queue; it must not go there again.
    A delivery notice goes to the exchange of the notices, whatever else is known.
    """
    if letter.kind is LetterKind.DELIVERED:
        return Origin(NOTICE_EXCHANGE, NOTICE_KEY)
    noted = "origin_routing_key" in letter.headers or "x-death" in letter.headers
    if not (letter.origin_exchange or letter.origin_routing_key) or (
        letter.reason == DeadLetterReason.UNKNOWN and not noted
    ):
        return default
    return Origin(letter.origin_exchange, letter.origin_routing_key)


def replay_headers(letter: DeadLetterRecord, *, replay_id: str, origin: Origin) -> dict[str, object]:
    """Return the headers of a letter's copy: the publisher's own and the trace, counts from zero, no old error."""
    state = MessageState.read(Delivery(body=letter.body, headers=letter.headers), order_id=letter.order_id)
    headers: dict[str, object] = {
        **state.foreign,
        "trace_id": letter.trace_id,
        "traceparent": state.trace.traceparent,
        "attempt": 0,
        "deferrals": 0,
        "origin_exchange": origin.exchange,
        "origin_routing_key": origin.routing_key,
        "dead_letter_id": letter.id,
        "replay_id": replay_id,
    }
    if state.trace.tracestate is not None:
        headers["tracestate"] = state.trace.tracestate
    if letter.headers.get("origin_message_id") == state.origin_message_id:  # else it was absent or unusable
        headers["origin_message_id"] = state.origin_message_id
    return headers


class ReplayService:
    """Plans replays, performs them, and says what became of them."""

    def __init__(
        self,
        *,
        dead_letters: IDeadLetters,
        publisher: IReplayPublisher,
        default_origin: Origin,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """`new_id` draws replay ids and message ids; they must be UUIDs."""
        self._dead_letters = dead_letters
        self._publisher = publisher
        self._default_origin = default_origin
        self._clock = clock
        self._new_id = new_id

    async def plan(self, selection: Selection) -> ReplayPlan:
        """Return what a replay of the selection would do; changes nothing. Raises StoreUnavailableError."""
        ids: list[str] = []
        groups: dict[tuple[str, str], PlannedGroup] = {}
        if selection.state in {None, DeadLetterState.OPEN}:
            open_ones = replace(selection, state=DeadLetterState.OPEN)
            async for letter in self._dead_letters.search(open_ones, limit=_EVERYTHING):
                ids.append(letter.id)
                _count_in(groups, letter)
        left_alone = {}
        for state in DeadLetterState:
            if state is not DeadLetterState.OPEN and selection.state in {None, state}:
                left_alone[state] = await self._dead_letters.count(replace(selection, state=state))
        found = len(ids) + sum(left_alone.values())
        return ReplayPlan(
            ids=tuple(reversed(ids)),
            groups=tuple(sorted(groups.values(), key=lambda group: -group.count)),
            left_alone={state: count for state, count in left_alone.items() if count},
            not_matching=max(len(set(selection.ids)) - found, 0) if selection.ids else 0,
        )

    async def replay(
        self,
        ids: Iterable[str],
        *,
        by: str,
        on_progress: Callable[[Replayed], None] = lambda _: None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> ReplayReport:
        """Send the letters that are open, in this order, some at once; return what became of each.

        `by`: who does it, for the letters' history. `on_progress` is called for each letter that is done with.
        Stops early when `go_on` says no, and when the broker or the store does not answer: what is in flight then is
        finished, and the report says why it stopped.
        """
        run = _Run(deque(dict.fromkeys(ids)), by, go_on)

        async def work_off() -> None:
            while run.goes_on():
                replayed = await self._replay_one(run, run.waiting.popleft())
                run.done.append(replayed)
                on_progress(replayed)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(IN_FLIGHT, len(run.waiting))):
                tasks.create_task(work_off())
        return ReplayReport(letters=tuple(run.done), not_tried=len(run.waiting), stopped=run.stopped)

    async def outcomes(self, sent: Mapping[str, str]) -> dict[str, ReplayOutcome]:
        """Return what became of each replay so far. `sent`: a replay id for each letter id.

        Raises StoreUnavailableError.
        """
        found: dict[str, ReplayOutcome] = dict.fromkeys(sent, ReplayOutcome.ON_ITS_WAY)
        ids = tuple(sent)
        for start in range(0, len(ids), _LOOK_UP):
            some = Selection(ids=ids[start : start + _LOOK_UP])
            async for letter in self._dead_letters.search(some, limit=_LOOK_UP):
                found[letter.id] = outcome_of(letter, sent[letter.id])
        return found

    async def _replay_one(self, run: "_Run", letter_id: str) -> Replayed:
        replay_id = self._new_id()
        try:
            if not await self._dead_letters.claim_for_replay(
                letter_id, replay_id=replay_id, by=run.by, now=self._clock()
            ):
                return Replayed(letter_id, ReplayResult.SKIPPED, why=await self._why_not(letter_id))
            letter = await self._dead_letters.get(letter_id)  # after the claim: what is sent is what was claimed
        except StoreUnavailableError as error:
            run.stop(str(error))
            return Replayed(letter_id, ReplayResult.FAILED, replay_id, f"{error}; nothing was sent")
        if letter is None:
            return Replayed(letter_id, ReplayResult.SKIPPED, why="was deleted just now")
        return await self._send(run, letter, replay_id)

    async def _send(self, run: "_Run", letter: DeadLetterRecord, replay_id: str) -> Replayed:
        try:
            await self._publish(letter, replay_id)
        except BrokerUnavailableError as error:
            run.stop(str(error))
            return Replayed(letter.id, ReplayResult.UNKNOWN, replay_id, str(error))
        except PublishError as error:
            return await self._not_sent(run, letter.id, replay_id, str(error))
        except Exception as error:  # noqa: BLE001 - one odd letter must not end the run of the others
            return await self._not_sent(run, letter.id, replay_id, describe_error(error))
        try:
            await self._dead_letters.confirm_replay(letter.id, replay_id=replay_id, now=self._clock())
        except StoreUnavailableError as error:
            run.stop(str(error))
            return Replayed(letter.id, ReplayResult.UNKNOWN, replay_id, f"sent, but not noted: {error}")
        return Replayed(letter.id, ReplayResult.SENT, replay_id)

    async def _publish(self, letter: DeadLetterRecord, replay_id: str) -> None:
        origin = origin_of(letter, default=self._default_origin)
        await self._publisher.publish_copy(
            exchange=origin.exchange,
            routing_key=origin.routing_key,
            body=letter.body,
            headers=replay_headers(letter, replay_id=replay_id, origin=origin),
            message_id=self._new_id(),
        )

    async def _not_sent(self, run: "_Run", letter_id: str, replay_id: str, why: str) -> Replayed:
        try:
            await self._dead_letters.give_back(letter_id, replay_id=replay_id, now=self._clock())
        except StoreUnavailableError as error:
            run.stop(str(error))  # the letter is reopened by the worker's sweep
        return Replayed(letter_id, ReplayResult.FAILED, replay_id, why)

    async def _why_not(self, letter_id: str) -> str:
        letter = await self._dead_letters.get(letter_id)
        return "there is no such dead letter" if letter is None else _WHY_NOT[letter.state]


@dataclass(slots=True)
class _Run:
    """One replay while it goes on."""

    waiting: deque[str]
    by: str
    go_on: Callable[[], bool]
    done: list[Replayed] = field(default_factory=list)
    stopped: str | None = None

    def goes_on(self) -> bool:
        if self.waiting and self.stopped is None and not self.go_on():
            self.stop("it was interrupted")
        return bool(self.waiting) and self.stopped is None

    def stop(self, why: str) -> None:
        self.stopped = self.stopped or why


def _count_in(groups: dict[tuple[str, str], PlannedGroup], letter: DeadLetterRecord) -> None:
    key = letter.fingerprint, letter.reason
    known = groups.get(key) or PlannedGroup(*key, letter.error_type, letter.error_message, count=0)
    groups[key] = replace(known, count=known.count + 1)
