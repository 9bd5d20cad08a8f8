"""The first moments of a child process: tie it to its parent, then become the real program.

Run as a script, never imported, and by file name, so that it needs nothing of the project:

    python -I -S leash.py PARENT_PID|detached FOLDER PROGRAM [ARGUMENT...]

The pid stays the same through all of it. This is done here and not in subprocess' preexec_fn, which runs Python between
fork and exec and may hang when the parent has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    # SIGKILL, because a server that is asked politely may take its time or wait for ever.
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it died before the line above
        sys.exit("the parent process is gone")


def main(parent: str, folder: str, *command: str) -> None:
    """Replace this process by the command."""
    if parent != "detached":
        _die_with(int(parent))
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    os.chdir(folder)
    try:
        os.execv(command[0], command)  # noqa: S606 - the command comes from our own server classes
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
