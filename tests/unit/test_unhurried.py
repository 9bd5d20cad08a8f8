"""Questions that may take long are asked as often as they can bear."""

import asyncio

import pytest

from worker.domain.errors import StoreUnavailableError
from worker.unhurried import Unhurried


class Question:
    """Answers with how often it was asked, after some time."""

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0
        self.fails = False

    async def ask(self) -> int:
        self.asked += 1
        asked = self.asked
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise StoreUnavailableError("away")
        return asked


async def test_a_quick_question_is_asked_every_time() -> None:
    question = Question(seconds=0)
    unhurried = Unhurried(question.ask)
    answers = []
    for _ in range(3):
        answers.append(await unhurried.answer())
        await asyncio.sleep(0.02)
    assert answers == [1, 2, 3]


async def test_the_first_answer_is_waited_for_and_a_slow_one_serves_for_a_while() -> None:
    question = Question(seconds=0.4)
    unhurried = Unhurried(question.ask)
    assert await unhurried.answer() == 1
    assert [await unhurried.answer() for _ in range(5)] == [1] * 5
    assert question.asked == 1


async def test_a_question_that_has_become_slow_holds_nobody_up() -> None:
    question = Question(seconds=0)
    unhurried = Unhurried(question.ask)
    await unhurried.answer()
    question.seconds = 60.0
    await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        assert [await unhurried.answer() for _ in range(2)] == [1, 1]
    assert question.asked == 2
    unhurried.stop()


async def test_a_first_question_that_fails_is_told_and_asked_again() -> None:
    question = Question(seconds=0)
    question.fails = True
    unhurried = Unhurried(question.ask)
    with pytest.raises(StoreUnavailableError):
        await unhurried.answer()
    question.fails = False
    assert await unhurried.answer() == 2


async def test_a_later_question_that_fails_leaves_the_last_answer() -> None:
    question = Question(seconds=0)
    unhurried = Unhurried(question.ask)
    await unhurried.answer()
    question.fails = True
    await asyncio.sleep(0.02)
    assert await unhurried.answer() == 1


async def test_who_gives_up_waiting_for_the_first_answer_may_ask_again() -> None:
    question = Question(seconds=0.1)
    unhurried = Unhurried(question.ask)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await unhurried.answer()
    assert await unhurried.answer() == 1
