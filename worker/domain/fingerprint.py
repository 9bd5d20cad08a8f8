"""What makes two failures the same failure: error type, the top frame of our code, and the reason."""

import hashlib
import traceback
from pathlib import Path

from worker.domain.shipment import describe_error

_PROJECT = Path(__file__).resolve().parents[2]
_OURS = ("worker/", "consumers/", "infra/")


def top_frame(error: BaseException) -> str:
    """Return the deepest frame of our own code an error came through, as `infra/supplier/client.py:request_dispatch`.

    Without a line number, so that a group survives an edit above it. Empty when the error was never raised.
    """
    frame = ""
    for summary in traceback.extract_tb(error.__traceback__):
        try:
            path = Path(summary.filename).resolve().relative_to(_PROJECT).as_posix()
        except ValueError:
            continue
        if path.startswith(_OURS):
            frame = f"{path}:{summary.name}"
    return frame


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
