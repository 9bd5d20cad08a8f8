"""A question that may take long is asked as often as it can bear."""

import asyncio

import pytest

from worker.domain.errors import StoreUnavailableError
from worker.unhurried import Unhurried


class Question:
    """Answers with how often it was asked; time passes as it says."""

    def __init__(self, *, takes: float = 0.0) -> None:
        self.takes = takes
        self.now = 0.0
        self.asked = 0
        self.fails = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.unhurried = Unhurried(self.ask, timer=lambda: self.now)

    async def ask(self) -> int:
        self.asked += 1
        asked = self.asked
        await self.goes_on.wait()
        self.now += self.takes
        if self.fails:
            raise StoreUnavailableError("away")
        return asked

    async def answers(self, *, after: float = 0.0) -> int:
        self.now += after
        return await self.unhurried.answer()


async def test_a_quick_question_is_asked_every_time() -> None:
    question = Question()
    assert [await question.answers() for _ in range(3)] == [1, 2, 3]


async def test_a_slow_one_is_under_way_for_a_tenth_of_the_time() -> None:
    question = Question(takes=2.0)
    answers = [await question.answers(after=1.0) for _ in range(61)]
    assert answers == [1] + [2] * 20 + [3] * 20 + [4] * 20, "and the second at once: one slow answer may be chance"


async def test_a_quick_one_that_takes_long_once_is_asked_again_the_next_time() -> None:
    question = Question(takes=0.001)
    before = [await question.answers(after=1.0) for _ in range(3)]
    question.takes = 5.0
    slow = await question.answers(after=1.0)
    question.takes = 0.001
    assert [*before, slow, await question.answers(after=1.0)] == [1, 2, 3, 4, 5]


async def test_a_question_that_hangs_holds_nobody_up_once_there_is_an_answer_and_is_not_asked_beside_itself() -> None:
    question = Question()
    await question.answers()
    question.goes_on.clear()
    async with asyncio.timeout(5):
        assert [await question.answers() for _ in range(2)] == [1, 1]
    assert question.asked == 2
    question.goes_on.set()
    assert await question.answers() == 2


async def test_a_first_question_that_fails_is_told_and_asked_again() -> None:
    question = Question()
    question.fails = True
    with pytest.raises(StoreUnavailableError):
        await question.answers()
    question.fails = False
    assert await question.answers() == 2


async def test_a_later_question_that_fails_leaves_the_last_answer() -> None:
    question = Question()
    await question.answers()
    question.fails = True
    assert await question.answers() == 1
    question.fails = False
    assert await question.answers() == 3


async def test_who_gives_up_waiting_for_the_first_answer_may_ask_again() -> None:
    question = Question()
    question.goes_on.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await question.answers()
    question.goes_on.set()
    assert await question.answers() == 1


async def test_what_is_stopped_is_given_up() -> None:
    question = Question()
    question.goes_on.clear()
    asking = asyncio.create_task(question.answers())
    await asyncio.sleep(0)
    question.unhurried.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking
