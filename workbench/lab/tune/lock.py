"""Locked figures: measurements that are kept in a file, and what got worse since beyond noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np

from workbench.core.bench import BenchMachine, BenchResult
from workbench.core.errors import TuneError
from workbench.core.proportions import LEVEL, PairedCases
from workbench.core.statistics import NOISY_CV
from workbench.core.units import UNKNOWN
from workbench.lab.bench.pairs import DuelRecord
from workbench.lab.bench.record import BenchRecord
from workbench.lab.bench.report import markdown
from workbench.lab.decision.evidence import speed_figure
from workbench.lab.evals.record import EvalRecord
from workbench.lab.quality.figures import Values
from workbench.lab.quality.intervals import mean_intervals
from workbench.lab.quality.record import QualityRecord

LEAST_KLD = 2.5e-5
"""Divergences that differ by less are equal: that of BF16 from F16, in nats (llama.cpp, tools/perplexity)."""

RowKind = Literal["speed", "divergence", "perplexity", "prompts"]


@dataclass(frozen=True, slots=True)
class LockFile:
    """What is locked, with every raw value."""

    at: str
    """When it was locked: UTC, ISO 8601."""
    build: str
    """The versions of the program and of llama.cpp."""
    digests: tuple[tuple[str, str], ...] = ()
    """The digests of the model files by their paths."""
    bench: tuple[BenchRecord, ...] = ()
    quality: tuple[QualityRecord, ...] = ()
    evals: tuple[EvalRecord, ...] = ()
    version: int = 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing is locked."""
        return not (self.bench or self.quality or self.evals)


@dataclass(frozen=True, slots=True)
class LockRow:
    """One figure before and now."""

    kind: RowKind
    what: str
    before: float | None
    """tokens/s, nats, perplexity, or a share of prompts."""
    now: float | None
    """None where it could not be measured again."""
    interval: tuple[float, float] | None = None
    """Of the ratio for a speed, else of the difference, now to before; None where there is none."""
    worse: bool = False
    better: bool = False
    paired: bool = False
    """Whether both were measured again side by side, token by token, or prompt by prompt."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class LockReport:
    """The answer of a check."""

    before: LockFile
    build: str
    """The versions now."""
    rows: tuple[LockRow, ...]
    changed: tuple[str, ...] = ()
    """What has changed since, in sentences."""

    @property
    def is_worse(self) -> bool:
        """Whether something got worse, or could not be measured again."""
        return any(row.worse or row.now is None for row in self.rows)

    @property
    def sentence(self) -> str:
        """The answer in words."""
        worse = [row.what for row in self.rows if row.worse]
        missing = [row.what for row in self.rows if row.now is None]
        parts = [f"Worse beyond noise: {', '.join(worse)}."] if worse else ["Nothing got worse beyond noise."]
        return " ".join(parts + ([f"Not measured again: {', '.join(missing)}."] if missing else []))


def check_lockable(record: BenchRecord) -> None:
    """See that a bench run can be locked. Raises TuneError."""
    if record.kind not in ("tests", "parallel"):
        raise TuneError(
            f"The bench run {record.id} is of the kind {record.kind}, which cannot be locked.",
            "Lock a run of tests (`workbench bench MODEL`) or of parallel sequences.",
        )


def same_machine(first: BenchMachine, second: BenchMachine) -> bool:
    """Whether speeds of both can be compared."""
    return all(getattr(first, name) == getattr(second, name) for name in ("cpu_info", "gpu_info", "cores"))


def speed_rows(
    before: BenchRecord, now: BenchRecord | None, duels: Mapping[int, DuelRecord] | None = None
) -> list[LockRow]:
    """The speeds of a run. Those of different times are widened by the drift of a machine; `duels`, by the place of a
    result, compare the locked file with the present one side by side.
    """
    found = {} if now is None else {_key(result): result for result in now.results}
    rows = []
    for place, result in enumerate(before.results):
        what = f"{result.model.label} {result.case.test.label}"
        duel = (duels or {}).get(place)
        other = found.get(_key(result))
        if duel is not None:
            rows.append(_paired_speed(what, duel))
        elif other is None or not other.samples:
            rows.append(LockRow("speed", what, median(result.samples_ts), None, note="not measured again"))
        elif now is not None and not same_machine(before.machine, now.machine):
            speed = median(other.samples_ts)
            note = "another machine: not compared"
            rows.append(LockRow("speed", what, median(result.samples_ts), speed, note=note))
        else:
            rows.append(_speed_row(what, result, other))
    return rows


def _key(result: BenchResult) -> tuple[object, ...]:
    return result.case.ref, result.case.settings, result.case.test


def _speed_row(what: str, before: BenchResult, now: BenchResult) -> LockRow:
    mine, other = speed_figure(before.samples_ts), speed_figure(now.samples_ts)
    drift = 1 + NOISY_CV
    low = other.low / mine.high / drift
    high = other.high / mine.low * drift if mine.low > 0 else math.inf
    known = len(before.samples) > 1 and len(now.samples) > 1
    note = f"{now.disturbed} of {len(now.samples)} disturbed" if now.disturbed else ""
    return LockRow(
        "speed", what, mine.value, other.value, (low, high) if known else None, known and high < 1, known and low > 1,
        note=note or ("" if known else "one repetition says nothing about noise"),
    )  # fmt: skip


def _paired_speed(what: str, duel: DuelRecord) -> LockRow:
    found = duel.comparison
    first, second = (median(speeds) for speeds in zip(*duel.speeds, strict=True))
    interval = None if found.low is None or found.high is None else (found.low, found.high)
    verdict = found.verdict
    return LockRow(
        "speed", what, first, second, interval, verdict == "slower", verdict == "faster", paired=True,
        note="what was locked beside what is there now",
    )  # fmt: skip


def quality_rows(before: QualityRecord, now: QualityRecord | None) -> list[LockRow]:
    """The divergence of each candidate, and the perplexity of the reference, token by token."""
    text = f"on {before.text}" + (f" at depth {before.depth:,}" if before.depth else "")
    length = before.scored_of_chunk
    rows = []
    others = {} if now is None else {each.model.label: each for each in now.candidates}
    same = now is not None and (now.text_sha256, now.n_ctx, now.depth) == (
        before.text_sha256, before.n_ctx, before.depth
    )  # fmt: skip
    if now is not None and same:
        mine, theirs = ([chunk.nll for chunk in record.reference_tokens.chunks(length)] for record in (before, now))
        what = f"perplexity of {before.reference.label} {text}"
        figures = before.reference_perplexity[0], now.reference_perplexity[0]
        rows.append(_token_row("perplexity", what, figures, mine, theirs))
    for candidate, figures_before in zip(before.candidates, before.figures, strict=True):
        what = f"divergence of {candidate.model.label} {text}"
        other = others.get(candidate.model.label)
        if other is None or not same:
            note = "the text has changed" if now is not None and not same else "not measured again"
            rows.append(LockRow("divergence", what, figures_before.mean_kld, None, note=note))
            continue
        mine, theirs = candidate.tokens.divergences(length), other.tokens.divergences(length)
        kld = float(np.concatenate(theirs).mean())
        rows.append(_token_row("divergence", what, (figures_before.mean_kld, kld), mine, theirs))
    return rows


def _token_row(
    kind: RowKind, what: str, figures: tuple[float, float], mine: Sequence[Values], theirs: Sequence[Values]
) -> LockRow:
    chunks = zip(mine, theirs, strict=False)
    pairs = [(after - before)[:, None] for before, after in chunks if len(before) == len(after)]
    found = mean_intervals(pairs) if pairs else None
    if found is None:
        return LockRow(kind, what, *figures, note="too few tokens to tell")
    low, high = found[0]
    return LockRow(kind, what, *figures, (low, high), low > LEAST_KLD, high < -LEAST_KLD, paired=True)


def eval_rows(before: EvalRecord, now: EvalRecord | None) -> list[LockRow]:
    """The passed prompts of each model, prompt by prompt, by McNemar's exact test."""
    rows = []
    others = {} if now is None else {(result.case, result.question): result for result in now.results}
    lanes = {} if now is None else {lane.ref: place for place, lane in enumerate(now.lanes)}
    for place, (lane, score) in enumerate(zip(before.lanes, before.scores, strict=True)):
        what = f"{lane.label} on {before.pack}"
        there = lanes.get(lane.ref)
        verdicts = [
            (result.passed(place), others[result.case, result.question].passed(there))
            for result in before.results
            if there is not None and (result.case, result.question) in others
        ]
        both = [pair for pair in verdicts if None not in pair]
        if not both or now is None:
            rows.append(LockRow("prompts", what, score.rate, None, note="not asked again"))
            continue
        lost, gained = both.count((True, False)), both.count((False, True))
        split = PairedCases(len(both), lost, gained, LEVEL / len(before.lanes))
        shares = sum(bool(first) for first, _ in both) / len(both), sum(bool(second) for _, second in both) / len(both)
        note = f"{lost} lost, {gained} gained of {len(both)} prompts"
        if now.pack_digest != before.pack_digest:
            note += "; the pack has changed"
        rows.append(LockRow("prompts", what, *shares, None, split.verdict == "a", split.verdict == "b", True, note))
    return rows


def changes_since(before: LockFile, build: str, digests: Mapping[str, str]) -> tuple[str, ...]:
    """What has changed since, in sentences; `digests` are those of now, empty for a file that is gone."""
    found = [f"The build was {before.build}, and is {build} now."] if before.build != build else []
    for path, digest in before.digests:
        now = digests.get(path, "")
        if now != digest:
            found.append(f"{path} {'has changed' if now else 'is gone'}.")
    return tuple(found)


_FORMS: Mapping[RowKind, str] = {"speed": ".2f", "divergence": ".5f", "perplexity": ".4f", "prompts": ".1%"}


def as_json(report: LockReport) -> dict[str, Any]:
    """The fields of `--json`."""
    names = ("kind", "what", "before", "now", "interval", "worse", "better", "paired", "note")
    return {
        "worse": report.is_worse,
        "sentence": report.sentence,
        "rows": [{name: getattr(row, name) for name in names} for row in report.rows],
        "changed": list(report.changed),
        "locked_at": report.before.at,
        "locked_build": report.before.build,
        "build": report.build,
    }


def as_markdown(report: LockReport) -> str:
    """The report for people and for the summary of a CI job."""
    lines = [f"# Locked {report.before.at}", "", report.sentence, ""]
    lines += [markdown(("", "before", "now", "change, 95 %", "", ""), map(_cells, report.rows)), ""]
    if any(row.kind == "speed" and not row.paired for row in report.rows):
        lines.append(
            "Speeds of different times differ by 5 % without a cause: their intervals have that much room. "
            "p: compared side by side, token by token or prompt by prompt."
        )
    lines += [*report.changed, f"Locked with {report.before.build}; checked with {report.build}."]
    return "\n".join(lines) + "\n"


def _cells(row: LockRow) -> Sequence[str]:
    form = _FORMS[row.kind]
    ends = UNKNOWN
    if row.interval is not None:
        low, high = row.interval
        ends = f"{low:.3f}x to {high:.3f}x" if row.kind == "speed" else f"{low:+.5f} to {high:+.5f}"
    state = "WORSE" if row.worse else "better" if row.better else "not measured" if row.now is None else "same"
    values = (UNKNOWN if value is None else f"{value:{form}}" for value in (row.before, row.now))
    return row.what, *values, ends + " p" * row.paired, state, row.note
