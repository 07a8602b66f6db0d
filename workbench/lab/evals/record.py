"""The record of an evaluation as it is kept: what was asked, how, every answer, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

from workbench.core.errors import EvalError
from workbench.core.proportions import PairedCases, holm_levels, wilson


@dataclass(frozen=True, slots=True)
class EvalSample:
    """One answer to a case."""

    text: str = ""
    reasoning: str = ""
    passed: bool | None = None
    """None where there is no verdict: see `error`."""
    problems: tuple[str, ...] = ()
    """The checks that failed, and why."""
    error: str = ""
    """Why there is no verdict; empty where there is one."""
    finish_reason: str = ""
    seed: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    scores: tuple[float, ...] = ()
    """The natural-log probabilities of the choices, where these are compared in place of an answer."""


@dataclass(frozen=True, slots=True)
class EvalResult:
    """The answers to one case."""

    case: str
    """The id of the case."""
    question: str
    answers: tuple[tuple[EvalSample, ...], ...]
    """For each candidate its samples; empty where it was not asked."""
    tags: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    """The checks in words."""
    choices: tuple[str, ...] = ()
    earlier: str = ""
    """An earlier answer, which was not checked."""

    def passed(self, lane: int) -> bool | None:
        """Whether more than half of the samples of a candidate passed; None where one has no verdict."""
        samples = self.answers[lane]
        verdicts = [sample.passed for sample in samples]
        return None if not verdicts or None in verdicts else 2 * sum(map(bool, verdicts)) > len(verdicts)

    @property
    def is_failure(self) -> bool:
        """Whether some candidate did not pass."""
        return any(self.passed(lane) is not True for lane, samples in enumerate(self.answers) if samples)


@dataclass(frozen=True, slots=True)
class EvalLane:
    """A candidate."""

    ref: str
    label: str
    quant: str | None = None
    size_bytes: int | None = None
    digest: str = ""
    """The digest of its file; empty where it has none."""
    backend: str = ""
    settings: object = None
    """The values that differ from the defaults, and where they come from: see `sourced_values`."""
    system: str = ""
    error: str = ""
    """Why it was not asked to the end; empty where it was."""
    adapter: str = ""
    """The file of its LoRA adapter; empty for none."""


@dataclass(frozen=True, slots=True)
class LaneScore:
    """How many cases a candidate passed."""

    passed: int
    failed: int
    invalid: int
    """Cases without a verdict."""

    @property
    def judged(self) -> int:
        """Cases with a verdict."""
        return self.passed + self.failed

    @property
    def rate(self) -> float | None:
        """The share of judged cases that it passed."""
        return self.passed / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the rate, by Wilson."""
        return wilson(self.passed, self.judged)


@dataclass(frozen=True, slots=True)
class EvalPair:
    """Two candidates, by their indexes, on the same cases."""

    a: int
    b: int
    split: PairedCases


@dataclass(frozen=True)
class EvalRecord:
    """An evaluation."""

    id: str
    """Sorts by time; names the evaluation."""
    at: str
    """When it began: UTC, ISO 8601."""
    command: tuple[str, ...]
    """The arguments of `workbench` that repeat it."""
    pack: str
    pack_path: str
    pack_digest: str
    cases: int
    """Cases with checks in the pack, whether they were asked or not."""
    samples: int
    lanes: tuple[EvalLane, ...]
    results: tuple[EvalResult, ...] = ()
    build: str = ""
    """The versions of the program and of llama.cpp."""
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    """What was left out."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no answer."""
        return not any(samples for result in self.results for samples in result.answers)

    @cached_property
    def scores(self) -> tuple[LaneScore, ...]:
        """The score of each candidate."""
        found = []
        for lane in range(len(self.lanes)):
            verdicts = [result.passed(lane) for result in self.results if result.answers[lane]]
            found.append(LaneScore(verdicts.count(True), verdicts.count(False), verdicts.count(None)))
        return tuple(found)

    @cached_property
    def pairs(self) -> tuple[EvalPair, ...]:
        """Every two candidates, compared on the cases that were judged for both.

        The level of each is that of Holm, so that the false verdicts of all pairs together stay within 5 %.
        """
        splits = []
        for a, b in combinations(range(len(self.lanes)), 2):
            both = [(result.passed(a), result.passed(b)) for result in self.results]
            both = [pair for pair in both if None not in pair]
            splits.append((a, b, len(both), both.count((True, False)), both.count((False, True))))
        levels = holm_levels([PairedCases(cases, only_a, only_b).p_value for _, _, cases, only_a, only_b in splits])
        return tuple(
            EvalPair(a, b, PairedCases(cases, only_a, only_b, level))
            for (a, b, cases, only_a, only_b), level in zip(splits, levels, strict=True)
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A short name for each candidate: its quantization where that tells them apart, else its label."""
        quants = [lane.quant or "" for lane in self.lanes]
        if len(quants) > 1 and all(quants) and len(set(quants)) == len(quants):
            return tuple(quants)
        labels = self.models
        return tuple(
            f"{label} ({labels[:index].count(label) + 1})" if labels.count(label) > 1 else label
            for index, label in enumerate(labels)
        )

    @property
    def models(self) -> tuple[str, ...]:
        """The labels of the candidates."""
        return tuple(lane.label for lane in self.lanes)


def beside(first: EvalRecord, second: EvalRecord) -> EvalRecord:
    """The candidates of two evaluations, on the cases that both asked; a case is the same by its id and its question.

    Raises:
        EvalError: They have no case in common.
    """
    others = {(result.case, result.question): result for result in second.results}
    results = tuple(
        replace(result, answers=(*result.answers, *others[result.case, result.question].answers))
        for result in first.results
        if (result.case, result.question) in others
    )
    if not results:
        raise EvalError("The two evaluations have no case in common.", "Compare evaluations of the same pack.")
    notes = dict.fromkeys((*first.notes, *second.notes, f"Of two evaluations: {first.id} and {second.id}."))
    if first.samples != second.samples:
        notes[f"They have {first.samples} and {second.samples} samples a case."] = None
    return replace(
        first,
        lanes=(*first.lanes, *second.lanes),
        results=results,
        cases=len(results),
        interrupted=False,
        notes=tuple(notes),
        command=(),
    )
