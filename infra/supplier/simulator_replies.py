"""What the simulated supplier says: from a decision and the ledger's entry to status and body. Pure."""

import math
from email.utils import formatdate
from typing import NamedTuple

import orjson

from infra.supplier.simulator_behaviour import Behaviour, Decision, Fate
from infra.supplier.simulator_ledger import Dispatch, Entry

_WITHOUT_BODY = {204, 205, 304}
_PLAIN = {
    Fate.REFUSE: (422, b'{"accepted":false,"reason":"the supplier does not serve this destination"}'),
    Fate.REFUSE_SOFTLY: (200, b'{"accepted":false,"reason":"the supplier does not serve this destination"}'),
    Fate.FAIL: (500, b'{"error":"internal error of the supplier"}'),
    Fate.THROTTLE: (429, b'{"error":"too many requests"}'),
    Fate.UNAVAILABLE: (503, b'{"error":"the supplier is unavailable"}'),
}


class Reply(NamedTuple):
    """An HTTP answer: status, JSON body (empty where HTTP forbids one)."""

    status: int
    body: bytes


def reply_to(decision: Decision, entry: tuple[Entry, Dispatch] | None) -> Reply:
    """The answer to a request; `entry` is what the ledger made of it, None if it was not dispatched."""
    if decision.fate in _PLAIN:
        return Reply(*_PLAIN[decision.fate])
    if entry is None:
        return Reply(decision.status, _body(decision.status, {"error": f"always answered {decision.status}"}))
    what, dispatch = entry
    if what is Entry.CONFLICT:
        return Reply(422, b'{"accepted":false,"reason":"this Idempotency-Key was used for another body"}')
    said: dict[str, object] = {"accepted": True, "dispatch_id": dispatch.dispatch_id}
    if what is Entry.REPEATED:
        said["duplicate"] = True
    status = decision.status or (200 if what is Entry.REPEATED else 201)
    return Reply(status, _body(status, said))


def breach_reply(sentence: str) -> Reply:
    """The answer to a request that breaks the contract."""
    return Reply(400, orjson.dumps({"error": sentence}))


def retry_after(behaviour: Behaviour, status: int, now: float) -> str | None:
    """The Retry-After header of an answer, None for none; `now` in seconds since the epoch.

    Dates are rounded up to the whole seconds HTTP knows, so that a client never comes too early.
    """
    if status not in (429, 503) or behaviour.retry_after is None:
        return None
    if behaviour.retry_after_as_date:
        return formatdate(math.ceil(now + behaviour.retry_after), usegmt=True)
    return str(behaviour.retry_after)


def _body(status: int, said: dict[str, object]) -> bytes:
    return b"" if status in _WITHOUT_BODY else orjson.dumps(said)
