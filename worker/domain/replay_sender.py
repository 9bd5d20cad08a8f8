"""Sending the letters of a job, a wave at a time: claim them, publish their copies, note what the broker confirmed.

A process may die between any two of these. So the items are stored as in doubt before anything is done with their
letters, whatever becomes of their job then; and what a dead process leaves is told apart by the next one: a letter that
was not claimed was not sent; one whose confirm is noted was; any other is in doubt, and not sent again on suspicion.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from worker.domain.core import utc_now
from worker.domain.dead_letter import DeadLetterRecord
from worker.domain.errors import BrokerUnavailableError, PublishError
from worker.domain.ports import IReplayPublisher
from worker.domain.replay import Origin, origin_of, replay_headers
from worker.domain.replay_job import ItemState, ReplayItem, ReplayJob
from worker.domain.replay_outcome import outcome_of, was_claimed
from worker.domain.replay_ports import Claim, IReplayClaims
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import describe_error

MAX_WAVE = 100
_MAX_WAVE_BYTES = 8 * 1024 * 1024


class ReplaySender:
    """Sends items; returns what became of each, to be stored by the caller."""

    def __init__(
        self,
        *,
        claims: IReplayClaims,
        publisher: IReplayPublisher,
        default_origin: Origin,
        publish_timeout: float,
        on_copy: Callable[[ItemState], None] = lambda _: None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`default_origin`: where a letter goes whose origin nobody noted. `publish_timeout`: seconds after which a
        copy is given up as in doubt, so that none can arrive when it has been looked for already. `on_copy`: told of
        each copy whether it was sent."""
        self._claims = claims
        self._publisher = publisher
        self._default_origin = default_origin
        self._publish_timeout = publish_timeout
        self._on_copy = on_copy
        self._clock = clock

    def target_of(self, job: ReplayJob, letter: DeadLetterRecord) -> Origin:
        """Return where a letter's copy goes."""
        return job.options.target or origin_of(letter, default=self._default_origin)

    async def send(self, job: ReplayJob, items: Sequence[ReplayItem]) -> list[ReplayItem]:
        """Send waiting items. Raises StoreUnavailableError: they may be sent, and the next call finds out."""
        found = await self._claims.claim(
            _replays(items), job_id=job.id, by=job.by, now=self._clock(), note=_note(job.options.target)
        )
        return await self._publish_fresh(job, items, found)

    async def send_again(self, job: ReplayJob, items: Sequence[ReplayItem]) -> list[ReplayItem]:
        """Send items in doubt of which it is known now that no copy is out. Raises as `send`.

        Not those that another runner may be sending at this moment.
        """
        now = self._clock()
        no_publish_lasts_from = now - timedelta(seconds=self._publish_timeout)
        found = await self._claims.claim_again(_replays(items), claimed_before=no_publish_lasts_from, now=now)
        return await self._publish_fresh(job, items, found)

    async def _publish_fresh(
        self, job: ReplayJob, items: Sequence[ReplayItem], found: Mapping[str, Claim]
    ) -> list[ReplayItem]:
        fresh = [item for item in items if item.letter_id in found and found[item.letter_id].fresh]
        others = [self._not_fresh(item, found.get(item.letter_id)) for item in items if item not in fresh]
        sent = await asyncio.gather(*(self._publish(job, item, found[item.letter_id].letter) for item in fresh))
        for item in sent:
            self._on_copy(item.state)
        confirmed = [item for item in sent if item.state is ItemState.SENT]
        if confirmed:
            await self._claims.confirm(_replays(confirmed), now=self._clock())
        for item in sent:
            if item.state is ItemState.NOT_SENT:
                await self._claims.give_back(_replays([item]), now=self._clock(), note=item.why or "")
        return [*others, *sent]

    async def _publish(self, job: ReplayJob, item: ReplayItem, letter: DeadLetterRecord) -> ReplayItem:
        target = self.target_of(job, letter)
        now = self._clock()
        try:
            async with asyncio.timeout(self._publish_timeout):
                await self._publisher.publish_copy(
                    exchange=target.exchange,
                    routing_key=target.routing_key,
                    body=letter.body,
                    headers=replay_headers(letter, replay_id=item.replay_id, origin=target),
                    message_id=str(uuid.uuid4()),
                )
        except TimeoutError:
            why = f"the broker did not confirm it within {self._publish_timeout:g} s"
            return replace(item, state=ItemState.IN_DOUBT, sent_at=now, why=why)
        except BrokerUnavailableError as error:
            return replace(item, state=ItemState.IN_DOUBT, sent_at=now, why=str(error))
        except PublishError as error:
            return replace(item, state=ItemState.NOT_SENT, ended_at=now, why=str(error))
        except Exception as error:  # noqa: BLE001 - one odd letter must not end the job of the others
            return replace(item, state=ItemState.NOT_SENT, ended_at=now, why=describe_error(error))
        return replace(item, state=ItemState.SENT, sent_at=now, why=None)

    def _not_fresh(self, item: ReplayItem, claim: Claim | None) -> ReplayItem:
        """Return what is known of an item whose letter was not claimed just now."""
        now = self._clock()
        if claim is None:
            return replace(item, state=ItemState.SKIPPED, ended_at=now, why="the dead letter was deleted")
        letter = claim.letter
        if was_claimed(item, letter):  # by an earlier runner of this job
            ended = outcome_of(item, letter, now=now)
            state = ItemState.SENT if claim.confirmed else ItemState.IN_DOUBT
            return ended or replace(item, state=state, sent_at=item.sent_at or now)
        if letter.state is DeadLetterState.OPEN:
            return item  # it was opened again this very moment: its turn comes once more
        return replace(item, state=ItemState.SKIPPED, ended_at=now, why=f"it is {letter.state} already")


def wave_of(items: Sequence[ReplayItem], *, letters: int) -> Sequence[ReplayItem]:
    """Return the first items, at most so many, whose bodies fit into memory together; at least one."""
    wave: list[ReplayItem] = []
    size = 0
    for item in items[: max(min(letters, MAX_WAVE), 0)]:
        size += item.size
        if wave and size > _MAX_WAVE_BYTES:
            break
        wave.append(item)
    return wave


def _replays(items: Sequence[ReplayItem]) -> dict[str, str]:
    return {item.letter_id: item.replay_id for item in items}


def _note(target: Origin | None) -> str | None:
    return None if target is None else f"to exchange {target.exchange!r}, routing key {target.routing_key!r}"
