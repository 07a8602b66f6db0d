"""What has to be run where a decision lacks something: plans of the bench, of quality and of evaluations."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby

from workbench.core.bench import BenchSettings, BenchTest
from workbench.core.errors import DecisionError
from workbench.core.origins import from_origin
from workbench.core.parameters import LoadSettings, Sampling, with_values
from workbench.lab.bench.grid import Grid
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.decision.contender import Contender, Need
from workbench.lab.decision.evidence import Evidence
from workbench.lab.evals.read_pack import find_pack, shipped_packs
from workbench.lab.evals.run import MOST_CANDIDATES, EvalPlan
from workbench.lab.quality.logits import ModelSpec
from workbench.lab.quality.plan import CTX, QualityPlan, ScoredText, text_digest
from workbench.lab.race.lane import LaneSpec

PAIRS = 20
MORE_REPETITIONS = 20
"""Repetitions of a test whose interval was too wide."""
USUAL_TEST = BenchTest(n_gen=128)


Plan = BenchPlan | QualityPlan | EvalPlan


def plans_of(need: Need, evidence: Evidence, text: ScoredText | None = None) -> list[Plan]:
    """What has to be run, one after the other. Quality needs a text, and gives no plan without one.

    Raises:
        WorkbenchError: The pack of prompts cannot be read, or there is no reference.
    """
    contenders = [evidence.of(key) for key in need.contenders]
    match need.kind:
        case "pairs":
            return [_pairs(contenders, evidence)]
        case "bench":
            return [_bench(list(some), evidence) for _, some in _by_settings(contenders)]
        case "quality":
            return [] if text is None else [_quality(contenders, evidence, text)]
        case "eval":
            some = (contenders[at : at + MOST_CANDIDATES] for at in range(0, len(contenders), MOST_CANDIDATES))
            return [_eval(each, evidence) for each in some]


def commands_of(need: Need, evidence: Evidence) -> list[str]:
    """The same as commands for a shell; `FILE` stands for a text that is not known."""
    words = [("quality", *_quality_words(need, evidence))]
    if need.kind == "eval":
        contenders = [evidence.of(key) for key in need.contenders]
        words = [_eval_words(list(some), evidence) for _, some in _by_settings(contenders)]
    elif need.kind != "quality":
        words = [plan.command for plan in plans_of(need, evidence)]
    return [shlex.join(("workbench", *each)) for each in words]


def _by_settings(contenders: Sequence[Contender]) -> groupby[str, Contender]:
    return groupby(sorted(contenders, key=lambda each: repr(each.settings)), key=lambda each: repr(each.settings))


# The bench


def _grid(refs: tuple[str, ...], evidence: Evidence, ways: Sequence[BenchSettings]) -> Grid:
    test = evidence.test or USUAL_TEST
    usual = BenchSettings()
    values = {name: tuple(dict.fromkeys(getattr(way, name) for way in ways)) for name in BenchSettings.__slots__}
    own = {name: found for name, found in values.items() if found != (getattr(usual, name),)}
    return Grid(refs, n_prompt=(0,), n_gen=(test.n_gen,), n_depth=(test.n_depth,), **own)  # type: ignore[arg-type]


def _pairs(contenders: Sequence[Contender], evidence: Evidence) -> BenchPlan:
    refs = tuple(dict.fromkeys(each.ref for each in contenders))
    return BenchPlan(_grid(refs, evidence, [each.settings for each in contenders]), pairs=PAIRS)


def _bench(contenders: Sequence[Contender], evidence: Evidence) -> BenchPlan:
    again = any(each.figure("speed") is not None for each in contenders)
    grid = _grid(tuple(each.ref for each in contenders), evidence, [contenders[0].settings])
    return BenchPlan(grid, repetitions=MORE_REPETITIONS if again else 5)


# Quality


def _reference(evidence: Evidence) -> Contender:
    """The reference of the text, else the largest file with its settings unchanged."""
    if evidence.quality is not None:
        return evidence.of(evidence.quality.reference)
    return next(each for each in evidence.contenders if not each.own_options)


def _candidates(contenders: Sequence[Contender], evidence: Evidence, *, anew: bool) -> list[Contender]:
    """Those to score, each file and types of the cache once; `anew` on a text that none was scored on."""
    reference = _reference(evidence)
    known = [each for each in evidence.contenders if each.is_measured] if anew else []
    found: dict[tuple[str, str, str], Contender] = {}
    for each in (*contenders, *known):
        found.setdefault((each.path, each.settings.type_k, each.settings.type_v), each)
    found.pop((reference.path, reference.settings.type_k, reference.settings.type_v), None)
    return list(found.values())


def _quality(contenders: Sequence[Contender], evidence: Evidence, text: ScoredText) -> QualityPlan:
    source, reference = evidence.quality, _reference(evidence)
    anew = source is None or source.text_sha256 != text_digest(text.text)
    candidates = _candidates(contenders, evidence, anew=anew)
    if not candidates:
        raise DecisionError(
            "There is one file of this model only.", "Quantize it (workbench quantize), or pull another."
        )
    n_ctx, depth, skip = (CTX, 0, 0) if source is None else (source.n_ctx, source.depth, source.skip)
    words = _refs([reference, *candidates])
    command = ("quality", *words, *text.options, "--ctx", str(n_ctx), *(("--depth", str(depth)) if depth else ()))
    specs = [ModelSpec(each.ref, _load(each), ",".join(_cache_words(each))) for each in (reference, *candidates)]
    return QualityPlan(specs[0], tuple(specs[1:]), text.name, text.text, n_ctx, depth, skip, command=command)


def _quality_words(need: Need, evidence: Evidence) -> tuple[str, ...]:
    contenders = [evidence.of(key) for key in need.contenders]
    source = evidence.quality
    options = ("--text", "FILE") if source is None or not source.options else source.options
    return (*_refs([_reference(evidence), *_candidates(contenders, evidence, anew=source is None)]), *options)


def _refs(contenders: Sequence[Contender]) -> tuple[str, ...]:
    return tuple(",".join((each.ref, *_cache_words(each))) for each in contenders)


def _cache_words(contender: Contender) -> list[str]:
    settings = contender.settings
    return [f"{name}={getattr(settings, name)}" for name in ("type_k", "type_v") if getattr(settings, name) != "f16"]


def _load(contender: Contender) -> LoadSettings:
    return LoadSettings(type_k=contender.settings.type_k, type_v=contender.settings.type_v)


# Prompts


def _eval_words(contenders: Sequence[Contender], evidence: Evidence) -> tuple[str, ...]:
    source = evidence.evals
    words = ["eval", shipped_packs()[0] if source is None else source.pack, *(each.ref for each in contenders)]
    if source is not None:
        words += ["--samples", str(source.samples)] if source.samples > 1 else []
        words += ["--system", source.system] if source.system else []
    return (*words, *(word for each in _cache_words(contenders[0]) for word in ("--set", each)))


def _eval(contenders: Sequence[Contender], evidence: Evidence) -> EvalPlan:
    source = evidence.evals
    pack = find_pack(shipped_packs()[0] if source is None else source.pack)
    samples, system, values = 1, "", {}
    if source is not None:
        if pack.digest != source.digest:
            raise DecisionError(f"The pack {source.name} has changed since.", "Ask all models again: workbench eval.")
        samples, system, values = source.samples, source.system, dict(source.settings)
    sampling = Sampling(temperature=0.0) if samples == 1 else Sampling()
    sampling, _ = with_values(sampling, LoadSettings(), values)
    specs = []
    for each in contenders:
        origins = from_origin((*values, "temperature"), "eval")
        entry = evidence.entries.get(each.path)
        specs.append(LaneSpec(each.ref, each.label, _load(each), sampling, system, entry, origins=origins))
    return EvalPlan(pack, tuple(specs), samples, _eval_words(contenders, evidence))
