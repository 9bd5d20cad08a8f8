"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is; only a problem makes `logistics doctor` fail."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is like and, where it is not right, what to do."""

    area: str
    verdict: Verdict
    text: str
    advice: str | None = None
