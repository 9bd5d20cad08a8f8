"""The programs that are compared."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """Something that takes orders off the queue."""

    name: str
    command: tuple[str, ...]
    """Arguments of `python`."""
    ships: bool = True
    """False: it only reads and acknowledges."""


BARE = Program("bare consume + ack", ("-m", "benchmarks.bare_consumer"), ships=False)
PLAIN = Program("plain job", ("-m", "benchmarks.plain_job"))
WORKER = Program("worker", ("-m", "worker", "worker"))
