"""The record of a run, as it is kept: the machine, the cases in their order, and every raw sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.core.bench import BenchMachine, BenchResult, MemorySpeed
from workbench.core.origins import sourced_values
from workbench.core.parameters import LoadSettings, Sampling
from workbench.lab.bench.latency import LatencyResult
from workbench.lab.bench.pairs import DuelRecord
from workbench.lab.bench.sweep import SweepRecord

Kind = Literal["tests", "parallel", "pairs", "felt", "sweep"]
"""Kinds of run. `felt`, the latency of answers, has the name of its option."""


@dataclass(frozen=True, slots=True)
class LatencyRecord:
    """The latency of one model."""

    model: str
    results: tuple[LatencyResult, ...]
    sampling: Sampling = field(default_factory=Sampling)
    """What its answers were sampled with."""
    origins: tuple[tuple[str, str], ...] = ()
    """Where these values come from."""

    @property
    def settings(self) -> Mapping[str, Mapping[str, object]]:
        """The values that were set or differ from the defaults: see `sourced_values`."""
        return sourced_values(self.sampling, LoadSettings(), dict(self.origins))


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """A run."""

    id: str
    """Sorts by time; names the run."""
    at: str
    """When it began: UTC, ISO 8601."""
    kind: Kind
    command: tuple[str, ...]
    """The arguments of `workbench` that reproduce it."""
    machine: BenchMachine
    memory: MemorySpeed | None = None
    interrupted: bool = False
    results: tuple[BenchResult, ...] = ()
    """In the order in which they were run."""
    duels: tuple[DuelRecord, ...] = ()
    felt: tuple[LatencyRecord, ...] = ()
    sweep: SweepRecord | None = None
    """None for another kind of run; the machine is then that of the client."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no result."""
        return not (self.results or self.duels or self.felt or (self.sweep and self.sweep.levels))

    @property
    def models(self) -> tuple[str, ...]:
        """The labels of the models, each once."""
        found = [result.model.label for result in self.results]
        found += [model.label for duel in self.duels for model in duel.models]
        found += [felt.model for felt in self.felt]
        return tuple(dict.fromkeys([*found, self.sweep.label] if self.sweep else found))


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of two runs."""

    label: str
    first: float
    """tokens/s."""
    second: float

    @property
    def ratio(self) -> float:
        """That of the second run's speed to the first's."""
        return self.second / self.first


def lay_beside(first: BenchRecord, second: BenchRecord) -> tuple[Change, ...]:
    """The tests that both runs have, in the order of the first.

    Where no test has the same model and settings in both, tests are matched whatever their model and settings.
    """
    for exact in (True, False):
        mine, others = (_figures(record, exact=exact) for record in (first, second))
        shared = [key for key in mine if key in others]
        if shared:
            return tuple(Change(*mine[key], others[key][1]) for key in shared)
    return ()


def _figures(record: BenchRecord, *, exact: bool) -> dict[object, tuple[str, float]]:
    """The label and the speed of each case of a run, or of each level of a sweep."""
    found: dict[object, tuple[str, float]] = {}
    for result in (*record.results, *(side for duel in record.duels for side in duel.results(record.at))):
        model, case = result.model.label, result.case
        key = (model, case.settings, case.test) if exact else case.test
        found.setdefault(key, (f"{model} {case.test.label}", result.avg_ts))
    for level in record.sweep.levels if record.sweep else ():
        if level.tps_total:
            found[level.concurrency] = (f"{level.concurrency} at a time", level.tps_total)
    return found
