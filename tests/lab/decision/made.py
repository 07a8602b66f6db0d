"""Contenders, evidence and kept results, made up."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.lab.bench.fake_bencher import MACHINE, FakeBencher
from tests.lab.evals.fake_tools import FakeRuns
from workbench.core.bench import (
    BenchCase,
    BenchMachine,
    BenchModel,
    BenchResult,
    BenchSettings,
    BenchTest,
    RunTime,
    Sample,
)
from workbench.core.engine import Footprint
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.units import MIB
from workbench.lab.bench.pairs import DuelRecord, Pair
from workbench.lab.bench.record import BenchRecord
from workbench.lab.decision.contender import Contender, Figure
from workbench.lab.decision.evidence import Evidence
from workbench.lab.evals.record import EvalLane, EvalRecord, EvalResult, EvalSample
from workbench.lab.quality.figures import TokenFigures
from workbench.lab.quality.record import PackedTokens, QualityCandidate, QualityModel, QualityRecord

BUILD = "workbench 0.1.0, llama.cpp 1 0c1e570"
TG = BenchTest(n_gen=128)


def contender(
    key: str,
    speed: float | Figure | None = None,
    kld: float | Figure | None = None,
    *,
    size: int = 100,
    spread: float = 0.02,
    path: str = "",
    **values: Any,
) -> Contender:
    """A contender `Qa`; intervals reach `spread` to both sides."""

    def figure(value: float | Figure | None) -> Figure | None:
        if value is None or isinstance(value, Figure):
            return value
        return Figure(value, (value * (1 - spread), value * (1 + spread)))

    found = Contender(
        key, f"Q{key}", f"ref-{key}", path or f"/m/{key}.gguf", f"sha256:{key}", size * MIB, BenchSettings(),
        speed=figure(speed), kld=figure(kld), memory_bytes=2 * size * MIB, largest_ctx=8192, is_reference=kld == 0,
    )  # fmt: skip
    return replace(found, **values)


def klds(mean: float, seed: int, chunks: int = 8, length: int = 64, wide: float = 0.5) -> list[np.ndarray]:
    """Divergences of tokens, of which neighbours are alike."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(chunks):
        noise = rng.normal(size=length + 4)
        smooth = sum(noise[at : at + length] for at in range(4)) / 2
        found.append(mean * np.exp(wide * smooth - wide**2 / 2))
    return found


def evidence(*contenders: Contender, **values: Any) -> Evidence:
    """Evidence with one run of the bench, and divergences that differ by a factor."""
    found = Evidence("model", MACHINE, tuple(contenders), test=TG)
    found.runs = {each.key: "one" for each in contenders}
    base = klds(1.0, 1)
    for each in contenders:
        if each.kld is not None and not each.is_reference:
            found.divergences[each.key] = [each.kld.value * chunk for chunk in base]
    return replace(found, **values)


class FakeFile:
    """A file of the model, on disk, so that it has a time."""

    def __init__(self, folder: Path, quant: str, size: int) -> None:
        self.path = folder / f"m-{quant}.gguf"
        self.path.write_bytes(b"x" * size)
        self.entry = ModelEntry(str(self.path), "m", quant, str(self.path), size, group="m")
        self.digest = f"sha256:{quant}"

    def bench_model(self) -> BenchModel:
        stat = self.path.stat()
        return BenchModel(
            str(self.path), "m", self.entry.quant, str(self.path), stat.st_size, stat.st_mtime_ns, None, "llama",
            stat.st_size, 1, "CPU", 0, 4,
        )  # fmt: skip

    def quality_model(self, **load: Any) -> QualityModel:
        path = str(self.path)
        settings = LoadSettings(**load)
        return QualityModel(
            f"m {self.entry.quant}", path, path, self.entry.size_bytes or 0, self.digest, settings, "CPU"
        )


def bench(
    *rows: tuple[FakeFile, float],
    run: str = "260101-000001-aaaa",
    machine: BenchMachine = MACHINE,
    settings: BenchSettings | None = None,
    test: BenchTest = TG,
) -> BenchRecord:
    """A run: the speed of each file, with 1 % of noise."""
    rng = random.Random(run)
    results = []
    for file, speed in rows:
        samples = tuple(
            Sample(RunTime(0, round(test.tokens * 1e9 / speed * rng.uniform(0.99, 1.01)), 0), 1) for _ in range(5)
        )
        case = BenchCase(file.entry.ref, settings or BenchSettings(), test)
        results.append(BenchResult(case, file.bench_model(), "2026-01-01T00:00:00Z", samples))
    return BenchRecord(run, "2026-01-01T00:00:00Z", "tests", ("bench",), machine, results=tuple(results))


def duel(a: FakeFile, b: FakeFile, ratio: float, pairs: int = 12, run: str = "260101-000009-aaaa") -> BenchRecord:
    """A comparison in pairs: B is `ratio` times as fast."""
    rng = random.Random(run)

    def sample(speed: float) -> tuple[Sample, ...]:
        return (Sample(RunTime(0, round(TG.tokens * 1e9 / speed * rng.uniform(0.99, 1.01)), 0), 1),)

    cases = [BenchCase(file.entry.ref, BenchSettings(), TG) for file in (a, b)]
    found = tuple(Pair("a", sample(50.0), sample(50.0 * ratio)) for _ in range(pairs))
    record = DuelRecord(cases[0], cases[1], (a.bench_model(), b.bench_model()), "interleaved", found)
    return BenchRecord(run, "2026-01-01T00:00:00Z", "pairs", ("bench",), MACHINE, duels=(record,))


def quality(
    reference: FakeFile,
    *candidates: tuple[FakeFile, float],
    run: str = "260101-000002-aaaa",
    machine: BenchMachine = MACHINE,
    text: str = "book.txt",
    **load: Any,
) -> QualityRecord:
    """A measurement: the mean divergence of each file."""
    nll = np.full(64, 2.0)
    tokens = [TokenFigures(nll, np.arange(64, dtype=np.int32))] * 8
    rows = []
    for number, (file, mean) in enumerate(candidates):
        packed = PackedTokens.of(tokens, klds(mean, number + 1))
        rows.append(QualityCandidate(file.quality_model(**load), packed))
    command = ("quality", "a", "b", "--text", text)
    return QualityRecord(
        run, "2026-01-01T00:00:00Z", command, machine, text, f"sha-{text}", 2048, 130, 0, 8,
        reference.quality_model(), PackedTokens.of(tokens), tuple(rows),
    )  # fmt: skip


def evals(
    *lanes: tuple[FakeFile, str],
    run: str = "260101-000003-aaaa",
    build: str = BUILD,
    settings: Mapping[str, object] | None = None,
) -> EvalRecord:
    """An evaluation: for each file its verdicts, such as `110` for two cases passed and one failed."""
    results = tuple(
        EvalResult(f"case {at}", "?", tuple((EvalSample(passed=found[at] == "1"),) for _, found in lanes))
        for at in range(len(lanes[0][1]))
    )
    models = tuple(
        EvalLane(file.entry.ref, f"m {file.entry.quant}", digest=file.digest, settings=settings) for file, _ in lanes
    )
    count = len(results)
    return EvalRecord(run, "", ("eval", "instructions"), "Mine", "/p", "sha256:p", count, 1, models, results, build)


class FakeTools(FakeBencher):
    """Kept results in memory, of the files of one model."""

    def __init__(self, files: Sequence[FakeFile]) -> None:
        super().__init__()
        self.files = {str(file.path): file for file in files}
        self.bench_runs, self.quality_runs, self.eval_runs = FakeRuns(), FakeRuns(), FakeRuns()
        self.decision_runs, self.blind_runs = FakeRuns(), FakeRuns()
        self.bencher = self.adviser = self
        self.build = BUILD
        self.footprints: list[LoadSettings] = []

    def build_text(self, *, local: bool) -> str:
        return self.build

    async def digest(self, model: ModelEntry) -> str:
        return self.files[str(model.path)].digest

    async def footprint(self, model: ModelEntry, load: LoadSettings) -> Footprint | None:
        self.footprints.append(load)
        return Footprint((model.size_bytes or 0) + load.num_ctx, 8192)

    async def models(self) -> Sequence[ModelEntry]:
        return [file.entry for file in self.files.values()]
