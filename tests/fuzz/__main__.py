"""Fuzzing at depth: the targets again and again, each round from a seed of its own, until the time is over.

`make fuzz` runs it. LOGISTICS_FUZZ_MINUTES says how long (60). What failed is kept in `.hypothesis` and tried first in
the next run, the ordinary suite included.
"""

import os
import re
import secrets
import subprocess
import sys
import time
from collections import Counter

import click

from tests.support.fuzz_settings import EXAMPLES_VARIABLE

MINUTES_VARIABLE = "LOGISTICS_FUZZ_MINUTES"
EXAMPLES_A_ROUND = 1000


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    envvar=MINUTES_VARIABLE,
    show_envvar=True,
    help="How long; the round that has begun is finished.",
)
def fuzz(minutes: float) -> None:
    """Throw whatever comes to mind at everything that reads what others wrote, round after round.

    Each round has a seed of its own. What failed is kept in .hypothesis, and tried first in the next run, the ordinary
    suite's included. Exit code 1: a round failed.

    \b
    Examples:
      python -m tests.fuzz --minutes 5
    """
    sys.exit(run(minutes))


def run(minutes: float) -> int:
    """Run rounds; return 1 when any of them failed."""
    end = time.monotonic() + minutes * 60
    total: Counter[str] = Counter()
    rounds = failed = 0
    while time.monotonic() < end:
        rounds += 1
        seed, started = secrets.randbelow(2**32), time.monotonic()
        status, output = _round(seed)
        counts = {name: int(count) for count, name in re.findall(r"^fuzzed (\d+) (.+)$", output, re.MULTILINE)}
        total.update(counts)
        failed += status != 0
        _say(
            f"round {rounds}: seed {seed}, {sum(counts.values())} examples, {time.monotonic() - started:.0f} s, "
            f"{'FAILED' if status else 'passed'}"
        )
        if status:
            _say(output)
    _say(f"{time.strftime('%Y-%m-%d %H:%M:%S')}: {rounds} rounds in {minutes:g} minutes, {failed} failed")
    for name, count in sorted(total.items()):
        _say(f"{count:>10,}  {name}")
    _say(f"{total.total():>10,}  in all")
    return int(failed > 0)


def _round(seed: int) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "tests/fuzz", "-q", "--tb=short", "--show-capture=no", "--timeout=0"]
    done = subprocess.run(
        [*command, f"--hypothesis-seed={seed}"],
        env={**os.environ, EXAMPLES_VARIABLE: str(EXAMPLES_A_ROUND)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    fuzz()
