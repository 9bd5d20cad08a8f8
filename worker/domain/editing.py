"""Edit and replay: a dead letter's body is corrected, checked, and sent as one copy; the body it had is kept.

read (revision r) → check → keep the body it has → claim: open → replaying, if it is still at r → publish → confirm
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from worker.domain.audit import Audit
from worker.domain.audit_entry import AuditAction
from worker.domain.core import utc_now
from worker.domain.dead_letter import DeadLetterRecord, LetterKind
from worker.domain.edit import Edit, EditReport, EditResult, with_headers
from worker.domain.errors import (
    BrokerUnavailableError,
    EditConflictError,
    EditRefusedError,
    MalformedMessageError,
    PublishError,
    StoreUnavailableError,
)
from worker.domain.letter_story import ReplayStory, replays_of
from worker.domain.letter_version import current_version
from worker.domain.ports import IDeadLetters, ILetterEdits, IReplayPublisher
from worker.domain.replay import Origin, origin_of, replay_headers
from worker.domain.selection import DeadLetterState


class Editing:
    """Checks edits, sends each as one copy, and says what became of it."""

    def __init__(
        self,
        *,
        dead_letters: IDeadLetters,
        edits: ILetterEdits,
        publisher: IReplayPublisher,
        audit: Audit,
        default_origin: Origin,
        check: Mapping[LetterKind, Callable[[bytes], str | None]],
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """`check`: for each kind what returns the order id of a valid body and raises MalformedMessageError."""
        self._dead_letters = dead_letters
        self._edits = edits
        self._publisher = publisher
        self._audit = audit
        self._default_origin = default_origin
        self._check = check
        self._clock = clock
        self._new_id = new_id

    async def load(self, letter_id: str, *, revision: int | None = None) -> DeadLetterRecord:
        """Return the letter to edit; `revision`: the one that the operator has before them.

        Raises EditConflictError when it is not open, or changed since that revision; StoreUnavailableError.
        """
        letter = await self._dead_letters.get(letter_id)
        if letter is None or letter.state is not DeadLetterState.OPEN or revision not in {None, letter.revision}:
            raise _conflict(letter_id, letter)
        return letter

    def prepare(
        self,
        letter: DeadLetterRecord,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
    ) -> Edit:
        """Return the checked edit of a letter that `load` returned; changes nothing.

        `body`: the new one, None to leave it. `headers`: the publisher's headers to set, None drops one. `exchange`,
        `routing_key`: where to send this copy instead of where the message came from. Raises EditRefusedError.
        """
        changed = with_headers(letter, headers or {})
        body = letter.body if body is None else body
        goes_elsewhere = exchange is not None or routing_key is not None
        if body == letter.body and changed == letter.headers and not goes_elsewhere:
            raise EditRefusedError("nothing changed: use 'replay' to send it as it is")
        after = replace(
            letter, body=body, headers=changed, order_id=self._order_id(letter, body), version=letter.version + 1
        )
        usual = self.origin(letter)
        return Edit(
            letter,
            after,
            usual,
            Origin(
                usual.exchange if exchange is None else exchange,
                usual.routing_key if routing_key is None else routing_key,
            ),
        )

    def origin(self, letter: DeadLetterRecord) -> Origin:
        """Return where the letter's copy goes unless somebody sends it elsewhere."""
        return origin_of(letter, default=self._default_origin)

    async def send(self, edit: Edit, *, by: str, why: str) -> EditReport:
        """Send the edit as one copy; of several at once, one goes out.

        Raises EditConflictError when the letter changed since it was loaded, StoreUnavailableError when the store
        did not answer before anything was sent: the letter is open then, or will be after a minute.
        """
        replay_id, sent = self._new_id(), False
        what = f"dead letter {edit.after.id}: version {edit.after.version}, replay {replay_id}"
        try:
            async with self._audit.recorded(AuditAction.EDIT, who=by, why=why, what=what) as recording:
                recording.count = 0
                await self._claim(edit, replay_id, by=by, why=why)
                await self._publish(edit, replay_id)
                recording.count, sent = 1, True
                await self._dead_letters.confirm_replay(edit.after.id, replay_id=replay_id, now=self._clock())
        except BrokerUnavailableError as error:
            return EditReport(EditResult.UNKNOWN, replay_id, edit.after.version, str(error))
        except PublishError as error:
            return EditReport(EditResult.NOT_SENT, replay_id, edit.after.version, str(error))
        except StoreUnavailableError as error:
            if not sent:
                raise
            return EditReport(EditResult.UNKNOWN, replay_id, edit.after.version, f"sent, but not noted: {error}")
        return EditReport(EditResult.SENT, replay_id, edit.after.version)

    async def outcome(self, letter_id: str, replay_id: str) -> ReplayStory | None:
        """Return what became of a replay so far; None when the letter or its replay is not known any more."""
        letter = await self._dead_letters.get(letter_id)
        replays = replays_of(letter) if letter is not None else ()
        return next((replay for replay in replays if replay.replay_id == replay_id), None)

    def _order_id(self, letter: DeadLetterRecord, body: bytes) -> str | None:
        """Return the order id that the letter has with this body."""
        check = self._check.get(letter.kind)
        if check is None:
            raise EditRefusedError(f"a message of the kind {letter.kind!s} cannot be edited; publish it anew")
        try:
            order_id = check(body)
        except MalformedMessageError as error:
            raise EditRefusedError(f"the edited body is not valid: {error}") from None
        if letter.kind is LetterKind.ORDER and letter.order_id not in {None, order_id}:
            raise EditRefusedError(
                f"the order id may not change ({letter.order_id!r} is what the supplier knows the order by): "
                "publish a new order instead, and discard this one"
            )
        return order_id or letter.order_id

    async def _claim(self, edit: Edit, replay_id: str, *, by: str, why: str) -> None:
        await self._edits.keep(current_version(edit.before))
        if not await self._edits.claim_edited(edit.after, replay_id=replay_id, by=by, why=why, now=self._clock()):
            raise _conflict(edit.after.id, await self._dead_letters.get(edit.after.id))

    async def _publish(self, edit: Edit, replay_id: str) -> None:
        try:
            await self._publisher.publish_copy(
                exchange=edit.origin.exchange,
                routing_key=edit.origin.routing_key,
                body=edit.after.body,
                headers=replay_headers(edit.after, replay_id=replay_id, origin=edit.origin),
                message_id=self._new_id(),
            )
        except BrokerUnavailableError:
            raise  # nobody knows whether it arrived
        except PublishError:
            await self._dead_letters.give_back(edit.after.id, replay_id=replay_id, now=self._clock())
            raise


def _conflict(letter_id: str, letter: DeadLetterRecord | None) -> EditConflictError:
    """Return the error that says what the letter is instead of what was expected."""
    if letter is None:
        return EditConflictError(f"the dead letter {letter_id} is gone")
    if letter.state is DeadLetterState.REPLAYING:
        replays = replays_of(letter)
        who = f" by {replays[-1].by}, since {replays[-1].at:%Y-%m-%d %H:%M:%S} UTC" if replays else ""
        return EditConflictError(f"the dead letter {letter_id} is being replayed{who} (replay {letter.replay_id})")
    if letter.state is DeadLetterState.DISCARDED:
        return EditConflictError(f"the dead letter {letter_id} is discarded: restore it first")
    if letter.state is DeadLetterState.RESOLVED:
        return EditConflictError(f"the dead letter {letter_id} is resolved: its order was shipped")
    last = letter.history[-1] if letter.history else None
    what = f" ({last.event}{f' by {last.by}' if last.by else ''}, {last.at:%H:%M:%S} UTC)" if last else ""
    return EditConflictError(f"the dead letter {letter_id} changed since it was read{what}: look at it and edit again")
