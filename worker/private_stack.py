"""The folder of the private servers, and the stack that `make up` left running in it."""

from collections.abc import Mapping
from pathlib import Path

from worker.demo.stack import Stack

DATA_DIR_VARIABLE = "LOGISTICS_DATA_DIR"
HEALTH_VARIABLE = "LOGISTICS_HEALTH_ADDR"
"""Where the stack's own worker answers: no other worker can."""
CONSOLE_VARIABLE = "LOGISTICS_CONSOLE_ADDR"
"""Where the stack's own console answers, if it has one."""
ITS_OWN = frozenset({HEALTH_VARIABLE, CONSOLE_VARIABLE})
"""Addresses that nothing else can have."""
_DEFAULT_DATA_DIR = ".logistics"


def data_dir(environment: Mapping[str, str]) -> Path:
    """Return the folder the private servers keep everything in."""
    return Path(environment.get(DATA_DIR_VARIABLE) or _DEFAULT_DATA_DIR).absolute()


def up_stack(environment: Mapping[str, str], *, settings: Mapping[str, str] | None = None) -> Stack:
    """Return the stack of `make up`, running or not."""
    return Stack(data_dir(environment) / "up", settings=settings or {})


def private_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the LOGISTICS_ variables of the stack that is up in this folder; nothing when none is.

    Without the addresses at which the stack's own programs answer.
    """
    found = up_stack(environment).environment() or {}
    return {name: value for name, value in found.items() if name not in ITS_OWN}
