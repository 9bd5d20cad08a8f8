"""Prometheus' own checker."""

import subprocess
from pathlib import Path


def promtool(*arguments: str | Path, page: bytes | None = None) -> tuple[int, str]:
    """Run it; return its exit code and what it printed. `page`: its standard input."""
    ran = subprocess.run(["promtool", *map(str, arguments)], input=page, capture_output=True, check=False)
    return ran.returncode, (ran.stdout + ran.stderr).decode()
