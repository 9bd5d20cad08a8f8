"""From runs to figures: medians over the rounds, and ratios of the worker to the plain job within each round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.comparison import Round, Run
from benchmarks.drain import PARTS
from benchmarks.low_load import percentile
from benchmarks.programs import BARE, PLAIN, WORKER


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured of a run."""

    name: str
    unit: str
    of: Callable[[Run], float]
    needs_shipping: bool = False
    """True: a program that ships nothing has none."""
    goal: float | None = None
    """What the ratio of the worker to the plain job should be: at least for a rate, at most for a cost."""
    more_is_better: bool = False

    def reaches_goal(self, ratio: float) -> bool:
        """Whether the ratio is what it should be."""
        return self.goal is None or (ratio >= self.goal if self.more_is_better else ratio <= self.goal)


def _cpu(part: str) -> Callable[[Run], float]:
    return lambda run: run.drain.cpu_per_thousand(part)


def _to_shipped(percent: int) -> Callable[[Run], float]:
    return lambda run: percentile(run.to_shipped, percent) * 1000


MEASURES = (
    Measure("orders", "1/s", lambda run: run.drain.rate, goal=3.0, more_is_better=True),
    Measure("CPU, program", "s/1,000", _cpu("program"), goal=0.4),
    *(Measure(f"CPU, {part}", "s/1,000", _cpu(part)) for part in PARTS[1:]),
    Measure("CPU, together", "s/1,000", lambda run: sum(map(run.drain.cpu_per_thousand, PARTS))),
    Measure("peak memory", "MiB", lambda run: run.drain.peak_mb),
    Measure("to SHIPPED, p50", "ms", _to_shipped(50), needs_shipping=True, goal=1.0),
    Measure("to SHIPPED, p99", "ms", _to_shipped(99), needs_shipping=True, goal=1.0),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure over all rounds."""

    measure: Measure
    medians: dict[str, float]
    """By program."""
    ratios: list[float]
    """Worker to plain job, a round each."""

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios)

    @property
    def rounds_reached(self) -> int:
        """In how many rounds the ratio was what it should be: about half of them, and the goal is on the line."""
        return sum(map(self.measure.reaches_goal, self.ratios))

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "measure": self.measure.name,
            "unit": self.measure.unit,
            "medians": {name: round(value, 4) for name, value in self.medians.items()},
            "ratios": [round(ratio, 4) for ratio in self.ratios],
            "ratio": round(self.ratio, 4),
            "goal": self.measure.goal,
            "reached": None if self.measure.goal is None else self.measure.reaches_goal(self.ratio),
            "rounds_reached": None if self.measure.goal is None else self.rounds_reached,
        }


def summarize(rounds: Sequence[Round]) -> list[Figure]:
    """Return a figure for each measure."""
    return [_figure(measure, rounds) for measure in MEASURES]


def _figure(measure: Measure, rounds: Sequence[Round]) -> Figure:
    programs = [program for program in (BARE, PLAIN, WORKER) if program.ships or not measure.needs_shipping]
    values = {program.name: [measure.of(done[program.name]) for done in rounds] for program in programs}
    return Figure(
        measure=measure,
        medians={name: median(of_rounds) for name, of_rounds in values.items()},
        ratios=[ours / theirs for ours, theirs in zip(values[WORKER.name], values[PLAIN.name], strict=True)],
    )
