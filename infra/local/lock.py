"""The lock of a data folder: held by at most one process, and never left behind."""

import fcntl
import os
from pathlib import Path


class FolderLock:
    """A lock on the file `lock` in a folder; the kernel lifts it when its holder ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._handle: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def acquire(self) -> bool:
        """Take the lock; return False when somebody holds it, this object included."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Give the lock back, if this object holds it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
