"""One thing that is wrong: for a terminal and for programs a sentence, for a page its parts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.moment import moment


class ProblemKind(StrEnum):
    """What is wrong; where to go to mend it depends on this."""

    UNREACHABLE = "unreachable"
    MISSING_QUEUES = "missing_queues"
    HELD_BACK = "held_back"
    NO_CONSUMER = "no_consumer"
    OPEN_CIRCUIT = "open_circuit"
    NOT_CONNECTED = "not_connected"
    LOST_WORKERS = "lost_workers"
    STOPPED_REPLAY = "stopped_replay"
    OPEN_LETTERS = "open_letters"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Its numbers change from second to second; `kind` and `about` stay."""

    kind: ProblemKind
    words: tuple[str | datetime, ...]
    about: str = ""
    """Which one of its kind: the name of a server, a queue or a job, where there may be several."""
    advice: str = ""
    """What to do about it at a terminal."""

    def said(self, *, now: datetime) -> str:
        """Return what is wrong in words, times in UTC."""
        return "".join(moment(word, now=now) if isinstance(word, datetime) else word for word in self.words)

    def sentence(self, *, now: datetime) -> str:
        """Return what is wrong and what to do about it, times in UTC."""
        return f"{self.said(now=now)}; {self.advice}" if self.advice else self.said(now=now)


def sentences(found: Iterable[Problem], *, now: datetime) -> list[str]:
    """Return a sentence for each, times in UTC."""
    return [problem.sentence(now=now) for problem in found]
