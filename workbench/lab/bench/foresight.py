"""What a run will take, and what the user should know before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.core.bench import BenchTest
from workbench.core.models import ModelEntry
from workbench.lab.bench.bench import GEN_WEIGHT, effort, time_text
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord

LONG_S = 600.0
"""Seconds from which the user is asked before a run begins."""
GUESSED_BYTES_PER_S = 20e9
"""The memory bandwidth by which the speed of a model that was never measured is guessed: that of a plain processor."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What can be said about a run before it begins."""

    seconds: float | None = None
    """How long it takes; a sweep, at most. None where nothing is known."""
    doubts: tuple[str, ...] = ()
    """What the user has to agree to, in sentences."""

    @property
    def words(self) -> str:
        """The time in words; empty where it is not known."""
        return "" if self.seconds is None else f"about {time_text(self.seconds)}"


def foresee(plan: BenchPlan, models: Mapping[str, ModelEntry], kept: Iterable[BenchRecord]) -> Foresight:
    """What is known about a plan from its models, by reference, and from the kept runs, the newest first."""
    if plan.sweep is not None:
        settings = plan.sweep.settings
        seconds = settings.seconds * len(settings.levels)
        return _foresight(seconds, "This takes up to {}.", ())
    doubts, records, seconds, measured = _beyond(plan, models), list(kept), 0.0, True
    for ref, test, times in _tests(plan):
        speed = _measured(ref, records)
        if speed is None and ref in models and (size := models[ref].size_bytes):
            speed, measured = _Speed(GEN_WEIGHT * GUESSED_BYTES_PER_S / size, GUESSED_BYTES_PER_S / size), False
        if speed is None:
            return Foresight(doubts=doubts)
        seconds += times * speed.seconds(test)
    known = "By earlier measurements, this takes about {}."
    guessed = "By the size of what was never measured here, this takes about {}; less on a GPU."
    return _foresight(seconds, known if measured else guessed, doubts)


def _foresight(seconds: float, sentence: str, doubts: tuple[str, ...]) -> Foresight:
    return Foresight(seconds, (*doubts, sentence.format(time_text(seconds))) if seconds > LONG_S else doubts)


def _tests(plan: BenchPlan) -> list[tuple[str, BenchTest, int]]:
    """The tests of a plan, each with its model and how often it is run."""
    if plan.kind == "felt":
        times, gen = plan.repetitions * (1 + plan.cache), max(plan.grid.n_gen)
        refs = dict.fromkeys(plan.grid.models)
        return [(ref, BenchTest(length, gen), times) for ref in refs for length in plan.latency]
    if plan.pairs is not None:
        return [(case.ref, case.test, plan.pairs + plan.warm) for side in plan.sides for case in side]
    return [(case.ref, case.test, plan.repetitions + plan.warm) for case in plan.grid.cases()]


@dataclass(frozen=True, slots=True)
class _Speed:
    """Tokens per second."""

    prefill: float
    decode: float

    def seconds(self, test: BenchTest) -> float:
        """The time of one repetition; what fills the context before the clock starts is part of it."""
        prompt = test.sequences * (test.n_depth + test.n_prompt)
        return prompt / self.prefill + (effort(test) - test.sequences * test.n_prompt) / GEN_WEIGHT / self.decode


def _measured(ref: str, records: Sequence[BenchRecord]) -> _Speed | None:
    """The speed of a model in the newest run with it; in one that was disturbed only where there is no other."""
    for calm, record in ((calm, record) for calm in (True, False) for record in records):
        results = [*record.results, *(side for duel in record.duels for side in duel.results(record.at))]
        mine = [
            result
            for result in results
            if result.case.ref == ref and result.case.test.sequences == 1 and not (calm and result.disturbed)
        ]
        prefill = min((each.avg_ts for each in mine if not each.case.test.n_gen), default=0.0)
        decode = min((each.avg_ts for each in mine if not each.case.test.n_prompt), default=0.0)
        if prefill or decode:
            return _Speed(prefill or GEN_WEIGHT * decode, decode or prefill / GEN_WEIGHT)
    return None


def _beyond(plan: BenchPlan, models: Mapping[str, ModelEntry]) -> tuple[str, ...]:
    """Models whose tests are longer than the context that they were trained for."""
    longest: dict[str, int] = {}
    for ref, test, _ in _tests(plan):
        longest[ref] = max(longest.get(ref, 0), test.context // test.sequences)
    return tuple(
        f"{models[ref].label} was trained for a context of {context:,} tokens, and a test here has {length:,}: "
        "its speed can be measured, but not used."
        for ref, length in longest.items()
        if ref in models and (context := models[ref].context_length) and length > context
    )
