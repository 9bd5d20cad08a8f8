"""`make bench`, small: the real programs on servers of its own, every order shipped exactly once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.programs import BARE, PLAIN, WORKER
from tests.support.system import PROJECT

SMALL = ("--orders", "1500", "--rounds", "1", "--low-load", "1", "--prefetch", "100")


@pytest.mark.timeout(100)
def test_a_small_benchmark_measures_all_three_programs_and_draws_them(tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *SMALL, "--json", "--plot", str(plot)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    figures = {figure["measure"]: figure for figure in document["figures"]}
    assert set(figures["orders"]["medians"]) == {BARE.name, PLAIN.name, WORKER.name}
    assert all(rate > 0 for rate in figures["orders"]["medians"].values())
    assert 20 < figures["to SHIPPED, p50"]["medians"][WORKER.name] < 5000  # ms; the supplier alone takes 20
    assert document["rounds"][0][WORKER.name]["orders"] >= 1000
    assert plot.read_text().startswith("<svg")
