"""`python -m benchmarks.scaling`, small: more processes ship more orders when the supplier is what they wait for."""

import json
import subprocess
import sys

import pytest

from tests.support.system import PROJECT


@pytest.mark.long
@pytest.mark.timeout(300)
def test_four_processes_ship_nearly_four_times_what_one_ships_when_the_supplier_is_slow() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", "--rounds", "1", "--seconds", "4", "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    done = {
        (each["fleet"]["processes"], each["fleet"]["prefetch"]): each["rates"][0] for each in json.loads(ended.stdout)
    }
    assert done[4, 10] > 3 * done[1, 10]
    assert done[2, 10] > 1.5 * done[1, 10]
