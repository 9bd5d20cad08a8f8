"""What the domain needs from the outside. Each docstring is the contract that the contract tests check."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from worker.domain.audit_entry import AuditEntry
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.letter_version import LetterVersion
from worker.domain.selection import DeadLetterGroup, HourCount, Place, Selection
from worker.domain.shipment import Shipment, ShipmentStatus


class ISupplierAPI(Protocol):
    """The supplier."""

    async def request_dispatch(self, shipment: Shipment) -> bool:
        """Ask the supplier to dispatch the shipment, with the shipment id as idempotency key.

        True: dispatched. False: a final no without a reason. Raises SupplierRejectedError (a final no, with the
        supplier's words), SupplierUnavailableError (ask later), SupplierOutcomeUnknownError (may have happened)
        or, behind a circuit breaker, CircuitBreakerOpenException (was not asked).
        """
        ...


class IRepository(Protocol):
    """The shipments. Every write is journaled on a majority before it returns.

    Raises StoreUnavailableError when the store cannot be reached: the write may or may not have happened.
    """

    async def start_shipment(self, shipment: Shipment) -> Shipment:
        """Store the new shipment unless its order has one already; return the one that is stored.

        Either way what it returns is on a majority: while writes wait for one, this does, and no supplier is asked.
        """
        ...

    async def save_shipment(self, shipment: Shipment) -> ShipmentStatus:
        """Store the shipment's status, destination, counts and new events; return the status that a SHIPPED replaced.

        `retry_count` never goes down and events are only added. A stored shipment that is SHIPPED or DELIVERED is
        left as it is and ShipmentAlreadySettledError raised; one that is FAILED stays so until it ships, also when the
        save comes from an older, PENDING copy. The returned status is exact for a save that says
        SHIPPED, even when another process changed the shipment meanwhile; for others it is what was last known.
        """
        ...

    async def mark_delivered(
        self, shipment_id: str, *, delivered_at: datetime, now: datetime, worker: str
    ) -> Shipment | None:
        """Take a SHIPPED shipment to DELIVERED, with the time and one event `delivered`, both at once or not at all.

        Returns the shipment as it was before, without its history: SHIPPED means that this call delivered it, any
        other status that nothing was changed. None when there is no such shipment.
        """
        ...

    async def find_shipment(self, shipment_id: str) -> Shipment | None:
        """Return the stored shipment, with its history."""
        ...

    async def status_of(self, shipment_id: str) -> ShipmentStatus | None:
        """Return the status of the stored shipment, None when there is none. Cheaper than the whole."""
        ...


class IDeadLetterSearch(Protocol):
    """Reading the filed dead letters. Errors as in IRepository."""

    async def get(self, letter_id: str) -> DeadLetterRecord | None:
        """Return one dead letter, body included."""
        ...

    def search(
        self, selection: Selection, *, limit: int, skip: int = 0, after: Place | None = None
    ) -> AsyncIterator[DeadLetterRecord]:
        """Yield the letters of the selection, newest first, without their bodies; with `after`, those beyond it."""
        ...

    async def count(self, selection: Selection) -> int:
        """Return how many letters the selection has."""
        ...

    async def groups(self, selection: Selection) -> Sequence[DeadLetterGroup]:
        """Return the selection by fingerprint, largest group first; the error is that of the newest letter."""
        ...

    async def hours(self, selection: Selection) -> Sequence[HourCount]:
        """Return how many letters of the selection were dead-lettered in each hour that has some, the oldest first."""
        ...


class IDeadLetters(IDeadLetterSearch, Protocol):
    """The filed dead letters. Writes and errors as in IRepository."""

    async def insert(self, letter: DeadLetterRecord) -> DeadLetterRecord | None:
        """Store the letter unless there is one of this id; return the one that was there, None when inserted."""
        ...

    async def replace(self, letter: DeadLetterRecord, *, expected: DeadLetterRecord) -> bool:
        """Store `letter` in place of `expected`; False, and nothing stored, when it changed since it was read."""
        ...

    async def resolve(
        self, *, order_id: str | None, letter_id: str | None, replay_id: str | None = None, now: datetime
    ) -> int:
        """Mark every open or replaying letter of this order, and the letter named, resolved; return how many.

        A letter is named by its id and the id of its last replay together (None: it was never replayed), so that a
        copied header resolves nothing. A malformed letter of the order, and a delivery notice about it, stay open
        unless they are the one named: their bodies were never this order.
        """
        ...

    async def mark_taken(self, letter_id: str, *, replay_id: str, by: str, now: datetime) -> None:
        """Note that a worker has taken the copy of this replay; the first time counts, any other changes nothing."""
        ...

    async def claim_for_replay(self, letter_id: str, *, replay_id: str, by: str, now: datetime) -> bool:
        """Take an open letter to `replaying`; False when it is not open (any more)."""
        ...

    async def confirm_replay(self, letter_id: str, *, replay_id: str, now: datetime) -> None:
        """Note that the replayed copy was confirmed by the broker."""
        ...

    async def give_back(self, letter_id: str, *, replay_id: str, now: datetime) -> None:
        """Take a letter whose copy did not go out back to `open`."""
        ...

    async def reopen_abandoned(self, *, claimed_before: datetime, now: datetime) -> int:
        """Reopen letters claimed before that time whose copy was neither confirmed nor taken; return how many.

        Those that a replay job claimed are the job's: it knows more, and reopens none.
        """
        ...


class ITriage(Protocol):
    """Setting dead letters aside and taking them back. Writes and errors as in IRepository."""

    async def ids(self, selection: Selection, *, claimed_before: datetime | None = None) -> Sequence[str]:
        """Return the ids of the selection, in no order; with `claimed_before` those whose last replay is older."""
        ...

    async def discard(self, selection: Selection, *, by: str, why: str, expires_at: datetime, now: datetime) -> int:
        """Take the letters of the selection that are open to `discarded`; return how many.

        A discarded letter goes by itself, within minutes, when `expires_at` has passed; any other never does.
        """
        ...

    async def restore(self, selection: Selection, *, by: str, why: str, now: datetime) -> int:
        """Take the letters of the selection that are discarded back to `open`, for good; return how many."""
        ...

    async def give_up(self, selection: Selection, *, claimed_before: datetime, by: str, why: str, now: datetime) -> int:
        """Take the letters of the selection that are replaying since before that time back to `open`."""
        ...


class ILetterEdits(Protocol):
    """The earlier bodies of dead letters, and the claim that puts a new one in place. Errors as in IRepository."""

    async def keep(self, version: LetterVersion) -> None:
        """Keep a body that a letter has. Safe to repeat."""
        ...

    async def versions(self, letter_id: str) -> Sequence[LetterVersion]:
        """Return the bodies that were kept of a letter, without the bytes, oldest first."""
        ...

    async def version(self, letter_id: str, number: int) -> LetterVersion | None:
        """Return one body that was kept, byte for byte."""
        ...

    async def claim_edited(self, edited: DeadLetterRecord, *, replay_id: str, by: str, why: str, now: datetime) -> bool:
        """Take an open letter to `replaying` with the body, headers, order id and version of `edited`.

        False, and nothing stored, when it is not open any more or changed since the revision that `edited` has.
        """
        ...


class IAuditLog(Protocol):
    """The audit log: entries are added and never changed. Writes and errors as in IRepository."""

    async def begin(self, entry: AuditEntry) -> None:
        """Add an action; one of this id that is there already stays as it is."""
        ...

    async def finish(self, entry_id: str, *, count: int | None, result: str, now: datetime) -> None:
        """Add the end of an action, beside it; the first end counts."""
        ...

    async def entries(
        self,
        *,
        limit: int,
        since: datetime | None = None,
        until: datetime | None = None,
        who: str | None = None,
        action: str | None = None,
        job_id: str | None = None,
    ) -> Sequence[AuditEntry]:
        """Return the actions that match all that is given, newest first, each with its end where it has one.

        `action` also matches what begins with it and a dot: `replay` is every `replay.…`.
        """
        ...


class IReplayPublisher(Protocol):
    """Where a replay's copies go out."""

    async def publish_copy(
        self, *, exchange: str, routing_key: str, body: bytes, headers: dict[str, object], message_id: str
    ) -> None:
        """Publish one persistent message; return when the broker has confirmed it. Raises PublishError."""
        ...
