"""What makes two failures the same failure: error type, the top frame of our code, and the reason."""

import hashlib
import traceback
from functools import lru_cache
from pathlib import Path

from worker.domain.shipment import describe_error

_PROJECT = Path(__file__).resolve().parents[2]
_OURS = ("worker/", "consumers/", "infra/")


def top_frame(error: BaseException) -> str:
    """Return the deepest frame of our own code an error came through, as `infra/supplier/client.py:request_dispatch`.

    Without a line number, so that a group survives an edit above it. Empty when the error was never raised.
    """
    # Not by traceback.extract_tb, which looks at every file and line: most of what a failed try cost (measured).
    deepest = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if path := _own_path(frame.f_code.co_filename):
            deepest = f"{path}:{frame.f_code.co_name}"
    return deepest


@lru_cache(maxsize=1024)
def _own_path(file: str) -> str:
    """Return where in the project a source file lies; empty for anybody else's."""
    try:
        path = Path(file).resolve().relative_to(_PROJECT).as_posix()
    except ValueError:
        return ""
    return path if path.startswith(_OURS) else ""


def fingerprint(*, error_type: str, frame: str, reason: str) -> str:
    """Return the group a failure belongs to: 12 hexadecimal digits."""
    return hashlib.sha256("|".join((error_type, frame, reason)).encode("utf-8", "replace")).hexdigest()[:12]


def error_chain(error: BaseException, *, limit: int = 5) -> list[str]:
    """Return the error and what caused it, outermost first, one bounded line each."""
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < limit:
        chain.append(describe_error(current, limit=300))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain
