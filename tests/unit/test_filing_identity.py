"""Whose dead letter a message is: found from the message itself, so that a copied header takes nobody's place."""

import json
import uuid

from tests.support.fake_ports import FakeRepository
from tests.support.fakes import FakeDeadLetters
from tests.support.letters import NOW, a_letter
from worker.domain.delivery import Delivery
from worker.domain.filing import DeadLetterFiling
from worker.domain.selection import DeadLetterState
from worker.domain.shipment import ShipmentStatus, shipment_id_for


def _message(order_id: str, **headers: object) -> Delivery:
    body = json.dumps({"order_id": order_id, "destination": "Oslo"}).encode()
    return Delivery(body, {"dead_letter_reason": "supplier_rejected", **headers}, message_id=uuid.uuid4().hex)


def _filing(letters: FakeDeadLetters) -> DeadLetterFiling:
    return DeadLetterFiling(
        dead_letters=letters, repository=FakeRepository(), worker_name="worker-1", clock=lambda: NOW
    )


async def test_a_copied_dead_letter_id_does_not_overwrite_the_letter_it_names() -> None:
    letters = FakeDeadLetters()
    filing = _filing(letters)
    first = await filing.file(_message("A-1"))
    other = await filing.file(_message("B-2", dead_letter_id=first.id, replay_id=str(uuid.uuid4())))
    assert other.id != first.id
    assert letters.letters[first.id].order_id == "A-1"
    assert letters.letters[other.id].order_id == "B-2"


async def test_a_replay_that_fails_again_reopens_the_letter_it_came_from_even_with_another_body() -> None:
    letters, replay_id = FakeDeadLetters(), str(uuid.uuid4())
    letter = a_letter(order_id=None, reason="malformed", state=DeadLetterState.REPLAYING, replay_id=replay_id)
    await letters.insert(letter)
    filed = await _filing(letters).file(_message("A-1", dead_letter_id=letter.id, replay_id=replay_id))
    assert filed.id == letter.id
    assert letters.letters[letter.id].state is DeadLetterState.OPEN
    assert letters.letters[letter.id].replay_count == 1


async def test_copies_of_one_order_are_one_letter_and_malformed_copies_are_one_each() -> None:
    letters = FakeDeadLetters()
    filing = _filing(letters)
    for _ in range(3):
        await filing.file(_message("A-1"))
        await filing.file(_message("A-2", dead_letter_reason="malformed"))
    assert len(letters.letters) == 1 + 3


async def test_an_order_dead_lettered_before_it_had_a_shipment_gets_a_failed_one() -> None:
    letters, repository = FakeDeadLetters(), FakeRepository()
    filing = DeadLetterFiling(dead_letters=letters, repository=repository, worker_name="w", clock=lambda: NOW)
    await filing.file(_message("A-1", dead_letter_reason="unknown"))
    assert repository.shipments[shipment_id_for("A-1")].status is ShipmentStatus.FAILED
    await filing.file(Delivery(b'{"order_id": "B-2"}', {}, message_id="m"))
    assert shipment_id_for("B-2") not in repository.shipments
