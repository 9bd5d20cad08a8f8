"""Edit and replay."""

from collections.abc import Mapping
from typing import Any

from infra.console.access.roles import Role
from infra.console.desk.part import Part, needs
from worker.domain.body_fields import with_fields
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.edit import Edit, EditReport
from worker.domain.letter_story import ReplayStory
from worker.domain.replay import Origin


class EditDesk(Part):
    """Corrects dead letters and sends them. Every other method than `origin` raises StoreUnavailableError, too."""

    @needs(Role.OPERATOR)
    def origin(self, letter: DeadLetterRecord) -> Origin:
        """Return where the letter's copy goes unless somebody sends it elsewhere."""
        return self._services.editing.origin(letter)

    @needs(Role.OPERATOR)
    async def prepare(
        self,
        letter_id: str,
        *,
        revision: int,
        body: bytes | None = None,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str | None] | None = None,
        exchange: str | None = None,
        routing_key: str | None = None,
    ) -> Edit:
        """Return the checked edit of the letter at the revision that the person sees; changes nothing.

        The new body is `body`, or what it is with these fields set; None and none: it stays. Raises
        EditConflictError when the letter is not open or changed since, EditRefusedError for what cannot go out.
        """
        letter = await self._services.editing.load(letter_id, revision=revision)
        if fields:
            body = with_fields(letter.body if body is None else body, fields)
        return self._services.editing.prepare(
            letter, body=body, headers=headers, exchange=exchange, routing_key=routing_key
        )

    @needs(Role.OPERATOR)
    async def send(self, edit: Edit, *, why: str) -> EditReport:
        """Send the edit as one copy; of several at once, one goes out.

        Raises EditConflictError when the letter changed meanwhile, BrokerUnavailableError when nothing can go out now.
        """
        await self._services.publisher.ping()  # before anything is claimed
        return await self._services.editing.send(edit, by=self.person.name, why=why)

    @needs(Role.READER)
    async def outcome(self, letter_id: str, replay_id: str) -> ReplayStory | None:
        """Return what became of a copy so far; None when the letter or its replay is not known any more."""
        return await self._services.editing.outcome(letter_id, replay_id)
