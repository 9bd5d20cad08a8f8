"""A message that came back from a delay queue before its time: held, or sent round again."""

import asyncio

from worker.domain.core import utc_now
from worker.domain.delivery import MessageState, to_milliseconds
from worker.domain.outcome import Defer
from worker.domain.retry import HOLD_LIMIT, RetryPolicy


async def await_its_time(state: MessageState, policy: RetryPolicy) -> Defer | None:
    """Return when the message may be tried: None, after up to a second; how to put it off when it is much too early."""
    now = to_milliseconds(utc_now())
    early = policy.seconds_early(state.not_before, wait_left=state.wait_left, now=now)
    if early > HOLD_LIMIT:
        return policy.defer(None, seconds=early, now=now)
    if early > 0:
        await asyncio.sleep(early)
    return None
