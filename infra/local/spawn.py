"""Start a program in the background."""

import functools
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")

_Job = tuple[Future[int], Callable[[], int]]


def spawn(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, detached: bool = False
) -> int:
    """Run the command with exactly this environment in this folder, its output in the log file; return its pid.

    Unless detached, the kernel kills it (SIGKILL) when this process ends, however this process ends. The kernel
    really ties a child to the *thread* that started it, so one thread that lives as long as the process starts them
    all: this function may be called from any thread, a short-lived one too.

    The child has a session of its own: Ctrl+C in the terminal reaches us, and we stop the child.
    """
    started: Future[int] = Future()
    line = leashed(command, folder=folder, detached=detached)
    _jobs().put((started, functools.partial(_spawn, line, environment, log)))
    return started.result()


def leashed(command: Sequence[str], *, folder: Path, detached: bool = False) -> list[str]:
    """Return the command that runs this one in this folder and, unless detached, ends with this process.

    The kernel ends it (SIGKILL) with the *thread* that starts it. Linux only.
    """
    owner = "detached" if detached else str(os.getpid())
    return [sys.executable, "-I", "-S", str(_LEASH), owner, str(folder), *command]


def _spawn(command: list[str], environment: Mapping[str, str], log: Path) -> int:
    return os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],  # otherwise a signal that happens to be blocked here would be blocked there for ever
    )


@functools.cache
def _jobs() -> queue.SimpleQueue[_Job]:
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    threading.Thread(target=_work, args=(jobs,), name="local-server-spawner", daemon=True).start()
    return jobs


# A forked child has none of its parent's threads: it needs a spawner of its own.
os.register_at_fork(after_in_child=_jobs.cache_clear)


def _work(jobs: queue.SimpleQueue[_Job]) -> None:
    while True:
        started, job = jobs.get()
        try:
            started.set_result(job())
        except OSError as error:
            started.set_exception(error)
