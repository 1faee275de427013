"""One comparison: who is compared, what each run gave, and the ratios that are to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from attrs import Factory, define, frozen

Sample = Mapping[str, float]
"""What one run gave, by the names of the figures."""
Run = Callable[[], Sample]


@frozen
class Reach:
    """A bound of one contestant's figure, or of its ratio to another contestant's."""

    figure: str
    least: float | None = None
    most: float | None = None
    of: str = "jobq"
    to: str | None = None

    @property
    def text(self) -> str:
        sign, bound = ("≥", self.least) if self.least is not None else ("≤", self.most)
        unit = f" × {self.to}" if self.to else ""
        return f"{self.figure} {sign} {bound:g}{unit}"

    def holds(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )


@frozen(kw_only=True)
class Contest:
    """Contestants who take turns. The first figure of a sample is what the contest is about."""

    title: str
    runs: Mapping[str, Run]
    floor: str | None = None
    """The contestant that the others' ratios in the table refer to."""
    reaches: Sequence[Reach] = ()
    settings: Mapping[str, str] = Factory(dict)
    missing: Mapping[str, str] = Factory(dict)
    """Who cannot be compared here, and why."""
    trials: int | None = None
    """How often, where that is another number than the others'."""


@define
class Result:
    """What the trials of a contest gave."""

    row: str
    contest: Contest
    samples: dict[str, list[Sample | None]] = Factory(dict)
    """By contestant, a sample a trial; None where the run failed."""
    failures: dict[str, str] = Factory(dict)

    def values(self, name: str, figure: str) -> list[float]:
        """A figure of a contestant in all trials that gave it."""
        found = self.samples.get(name, [])
        return [sample[figure] for sample in found if sample is not None and figure in sample]

    def figures(self, name: str) -> list[str]:
        return next((list(sample) for sample in self.samples.get(name, []) if sample), [])

    def median(self, name: str, figure: str) -> float | None:
        values = self.values(name, figure)
        return statistics.median(values) if values else None

    def ratio(self, name: str, other: str, figure: str) -> float | None:
        """The median of the trials' own ratios: what disturbs a trial disturbs both."""
        pairs = zip(self.samples.get(name, []), self.samples.get(other, []), strict=False)
        ratios = [
            ours[figure] / theirs[figure]
            for ours, theirs in pairs
            if ours and theirs and figure in ours and theirs.get(figure)
        ]
        return statistics.median(ratios) if ratios else None

    def reached(self, reach: Reach) -> float | None:
        """The value that a bound speaks of; None where it could not be measured."""
        if reach.to is None:
            return self.median(reach.of, reach.figure)
        return self.ratio(reach.of, reach.to, reach.figure)

    @property
    def missed(self) -> list[str]:
        """The bounds that were not kept. Who could not be compared misses nothing."""
        return [verdict.text for verdict in self.verdicts if verdict.holds is False]

    @property
    def verdicts(self) -> list[Verdict]:
        return [self._verdict(reach) for reach in self.contest.reaches]

    def _verdict(self, reach: Reach) -> Verdict:
        value = self.reached(reach)
        if value is not None:
            return Verdict(reach, value, reach.holds(value))
        excused = reach.to in self.contest.missing or reach.to in self.failures
        return Verdict(reach, None, None if excused and reach.of not in self.failures else False)


@frozen
class Verdict:
    """How a bound was kept; `holds` is None where there was nothing to compare with."""

    reach: Reach
    value: float | None
    holds: bool | None

    @property
    def text(self) -> str:
        found = "not measured" if self.value is None else f"{self.value:.3g}"
        word = {True: "ok", False: "MISSED", None: "-"}[self.holds]
        return f"{self.reach.of}: {self.reach.text}: {found} {word}"


def play(row: str, contest: Contest, trials: int) -> Result:
    """Play the trials; the contestants take turns, and who begins does too."""
    result = Result(row, contest)
    result.samples = {name: [] for name in contest.runs}
    for trial in range(contest.trials or trials):
        for name in sorted(contest.runs, reverse=bool(trial % 2)):
            result.samples[name].append(_sample(result, name, contest.runs[name]))
    return result


def _sample(result: Result, name: str, run: Run) -> Sample | None:
    if name in result.failures:
        return None  # it would only fail again, after its whole timeout
    try:
        return run()
    except Exception as error:  # noqa: BLE001  one that cannot be measured stops no other
        result.failures[name] = f"{type(error).__name__}: {error}"
        return None
