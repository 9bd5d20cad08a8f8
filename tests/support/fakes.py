"""Fakes written by hand: they keep the contracts of `worker.domain.ports`, in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from worker.domain.dead_letter import DeadLetterRecord, LetterEvent, LetterKind
from worker.domain.outcome import DeadLetterReason
from worker.domain.selection import DeadLetterGroup, DeadLetterState, HourCount, Place, Selection

_MAX_HISTORY = 100
_UNSETTLED = (DeadLetterState.OPEN, DeadLetterState.REPLAYING)


@dataclass(frozen=True, slots=True)
class _Claim:
    """The replay under way, or the last one."""

    claimed_at: datetime
    confirmed_at: datetime | None = None
    taken_at: datetime | None = None


class FakeDeadLetters:
    """`IDeadLetters` in memory."""

    def __init__(self) -> None:
        self.letters: dict[str, DeadLetterRecord] = {}
        self._claims: dict[str, _Claim] = {}
        self.before_write: Callable[[str], Awaitable[None]] | None = None
        """Called with the name of each write; what it raises, the write raises, undone."""

    async def insert(self, letter: DeadLetterRecord) -> DeadLetterRecord | None:
        await self._writing("insert")
        existing = self.letters.get(letter.id)
        if existing is None:
            self.letters[letter.id] = replace(letter, revision=0)
        return existing

    async def replace(self, letter: DeadLetterRecord, *, expected: DeadLetterRecord) -> bool:
        await self._writing("replace")
        stored = self.letters.get(expected.id)
        if stored is None or stored.revision != expected.revision:
            return False
        self.letters[expected.id] = replace(letter, id=expected.id, revision=stored.revision + 1)
        return True

    async def get(self, letter_id: str) -> DeadLetterRecord | None:
        await asyncio.sleep(0)
        return self.letters.get(letter_id)

    async def resolve(
        self, *, order_id: str | None, letter_id: str | None, replay_id: str | None = None, now: datetime
    ) -> int:
        await self._writing("resolve")

        def concerned(letter: DeadLetterRecord) -> bool:
            its_own = letter.reason != DeadLetterReason.MALFORMED and letter.kind is LetterKind.ORDER
            of_order = order_id is not None and letter.order_id == order_id and its_own
            named = letter.id == letter_id and letter.replay_id == replay_id
            return (of_order or named) and letter.state in _UNSETTLED

        return self._move(concerned, DeadLetterState.RESOLVED, LetterEvent(at=now, event="resolved"))

    async def mark_taken(self, letter_id: str, *, replay_id: str, by: str, now: datetime) -> None:
        await self._writing("mark_taken")
        letter, claim = self.letters.get(letter_id), self._claims.get(letter_id)
        if letter is None or claim is None or letter.replay_id != replay_id or claim.taken_at is not None:
            return
        self._claims[letter_id] = replace(claim, taken_at=now)
        event = LetterEvent(at=now, event="taken", replay_id=replay_id, by=by)
        self._move(lambda other: other.id == letter_id, letter.state, event)

    async def claim_for_replay(self, letter_id: str, *, replay_id: str, by: str, now: datetime) -> bool:
        await self._writing("claim_for_replay")
        event = LetterEvent(at=now, event="replayed", replay_id=replay_id, by=by)
        claimed = self._move(
            lambda letter: letter.id == letter_id and letter.state is DeadLetterState.OPEN,
            DeadLetterState.REPLAYING,
            event,
        )
        if claimed:
            self.letters[letter_id] = replace(self.letters[letter_id], replay_id=replay_id, job_id=None)
            self._claims[letter_id] = _Claim(now)
        return bool(claimed)

    async def confirm_replay(self, letter_id: str, *, replay_id: str, now: datetime) -> None:
        await self._writing("confirm_replay")
        letter = self.letters.get(letter_id)
        if letter is not None and letter.replay_id == replay_id:
            self._claims[letter_id] = replace(self._claims[letter_id], confirmed_at=now)

    async def give_back(self, letter_id: str, *, replay_id: str, now: datetime) -> None:
        await self._writing("give_back")

        def concerned(letter: DeadLetterRecord) -> bool:
            return (letter.id, letter.replay_id, letter.state) == (letter_id, replay_id, DeadLetterState.REPLAYING)

        self._move(concerned, DeadLetterState.OPEN, LetterEvent(at=now, event="not_sent", replay_id=replay_id))

    async def reopen_abandoned(self, *, claimed_before: datetime, now: datetime) -> int:
        await self._writing("reopen_abandoned")

        def concerned(letter: DeadLetterRecord) -> bool:
            claim = self._claims.get(letter.id)
            silent = claim is not None and claim.confirmed_at is None and claim.taken_at is None
            abandoned = silent and claim is not None and claim.claimed_at < claimed_before
            return abandoned and letter.job_id is None and letter.state is DeadLetterState.REPLAYING

        return self._move(concerned, DeadLetterState.OPEN, LetterEvent(at=now, event="abandoned"))

    async def search(
        self, selection: Selection, *, limit: int, skip: int = 0, after: Place | None = None
    ) -> AsyncIterator[DeadLetterRecord]:
        found = self._matching(selection)
        if after is not None:
            found = [letter for letter in found if (letter.dead_lettered_at, letter.id) < (after.at, after.id)]
        for letter in found[skip : skip + limit]:
            await asyncio.sleep(0)
            yield replace(letter, body=b"", filed=())

    async def count(self, selection: Selection) -> int:
        await asyncio.sleep(0)
        return len(self._matching(selection))

    async def groups(self, selection: Selection) -> Sequence[DeadLetterGroup]:
        await asyncio.sleep(0)
        groups: dict[str, list[DeadLetterRecord]] = {}
        for letter in self._matching(selection):
            groups.setdefault(letter.fingerprint, []).append(letter)
        found = [_group(fingerprint, letters) for fingerprint, letters in groups.items()]
        return sorted(found, key=lambda group: (-group.count, group.fingerprint))

    async def hours(self, selection: Selection) -> Sequence[HourCount]:
        await asyncio.sleep(0)
        hours = Counter(
            letter.dead_lettered_at.replace(minute=0, second=0, microsecond=0) for letter in self._matching(selection)
        )
        return [HourCount(hour, count) for hour, count in sorted(hours.items())]

    async def ids_starting_with(self, prefixes: Sequence[str], *, limit: int) -> list[str]:
        await asyncio.sleep(0)
        return sorted(letter_id for letter_id in self.letters if letter_id.startswith(tuple(prefixes)))[:limit]

    async def _writing(self, name: str) -> None:
        await asyncio.sleep(0)  # a write lets others in, as a real one does; what follows it is atomic
        if self.before_write is not None:
            await self.before_write(name)

    def _move(self, concerned: Callable[[DeadLetterRecord], bool], state: DeadLetterState, event: LetterEvent) -> int:
        moved = [letter for letter in self.letters.values() if concerned(letter)]
        for letter in moved:
            self.letters[letter.id] = replace(
                letter,
                state=state,
                history=(*letter.history, event)[-_MAX_HISTORY:],
                revision=letter.revision + 1,
            )
        return len(moved)

    def _matching(self, selection: Selection) -> list[DeadLetterRecord]:
        found = [letter for letter in self.letters.values() if _matches(letter, selection)]
        return sorted(found, key=lambda letter: (letter.dead_lettered_at, letter.id), reverse=True)


@dataclass(frozen=True, slots=True)
class Copy:
    """One message that a FakeReplayPublisher took."""

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, object]
    message_id: str


class FakeReplayPublisher:
    """`IReplayPublisher` that keeps what it is given."""

    def __init__(self) -> None:
        self.copies: list[Copy] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.refuse: Callable[[Copy], Exception | None] = lambda _: None
        """Returns what to raise instead of taking a copy."""

    async def publish_copy(
        self, *, exchange: str, routing_key: str, body: bytes, headers: dict[str, object], message_id: str
    ) -> None:
        copy = Copy(exchange, routing_key, body, headers, message_id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.001)
        self.in_flight -= 1
        error = self.refuse(copy)
        if error is not None:
            raise error
        self.copies.append(copy)


def _matches(letter: DeadLetterRecord, selection: Selection) -> bool:
    equal = (
        (letter.state, selection.state),
        (letter.reason, selection.reason),
        (letter.fingerprint, selection.group),
        (letter.order_id, selection.order_id),
        (letter.trace_id, selection.trace_id),
    )
    return (
        (not selection.ids or letter.id in selection.ids)
        and all(wanted is None or value == wanted for value, wanted in equal)
        and (selection.not_of_job is None or letter.job_id != selection.not_of_job)
        and (selection.since is None or letter.dead_lettered_at >= selection.since)
        and (selection.until is None or letter.dead_lettered_at < selection.until)
    )


def _group(fingerprint: str, letters: Sequence[DeadLetterRecord]) -> DeadLetterGroup:
    newest = letters[0]
    return DeadLetterGroup(
        fingerprint=fingerprint,
        reason=newest.reason,
        error_type=newest.error_type,
        error_message=newest.error_message,
        count=len(letters),
        first_seen=min(letter.first_failed_at for letter in letters),
        last_seen=max(letter.dead_lettered_at for letter in letters),
        example_id=newest.id,
    )
