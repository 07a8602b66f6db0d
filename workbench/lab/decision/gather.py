"""Collecting the evidence: the kept results that belong to the files of one base model, this machine and this build."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from string import ascii_lowercase
from typing import TypeVar

from workbench.core.bench import BenchResult, BenchSettings, BenchTest
from workbench.core.errors import DecisionError
from workbench.core.models import Catalog, ModelEntry, variants_of
from workbench.core.parameters import LoadSettings
from workbench.core.proportions import wilson
from workbench.core.servers import is_server_ref
from workbench.core.statistics import Comparison
from workbench.lab.bench.pairs import DuelRecord
from workbench.lab.bench.record import BenchRecord
from workbench.lab.decision.contender import Contender, Figure, settings_words
from workbench.lab.decision.evidence import CaseKey, EvalSource, Evidence, QualitySource, speed_figure
from workbench.lab.decision.matching import KnownFile, Matcher, Way, value_in
from workbench.lab.decision.tools import DecisionTools
from workbench.lab.evals.record import EvalLane, EvalRecord
from workbench.lab.quality.figures import Values
from workbench.lab.quality.record import QualityRecord

_LOAD_NAMES = frozenset(each.name for each in fields(LoadSettings))
_TEXT_OPTIONS = ("--text", "--session", "--sessions")


async def gather(ref: str, entry: ModelEntry, catalog: Catalog, tools: DecisionTools, n_ctx: int = 0) -> Evidence:
    """Everything that was measured of the base model of `entry`, which `ref` names.

    `n_ctx` is the context that memory is estimated for; 0 for the default of the model.

    Raises:
        DecisionError: The model has no file.
        WorkbenchError: The models cannot be listed.
    """
    if entry.path is None or is_server_ref(entry.ref):
        raise DecisionError(f"{ref} has no file on this machine.", "Name a model file: servers are not compared.")
    found = [each for each in variants_of(entry, await catalog.models()) if each.path and not each.problem]
    if not any(each.is_same(entry) for each in found):
        found.append(entry)
    plain = {str(each.path): each for each in reversed(found) if each.adapter_path is None}
    if not plain:
        raise DecisionError(f"{ref} has an adapter.", "Name the model file itself.")
    files = [await _file(each, tools) for each in plain.values()]
    files.sort(key=lambda file: (-file.size, file.path))
    matcher = Matcher(files, await tools.bencher.machine(), await asyncio.to_thread(tools.build_text, local=True))
    if any(each.adapter_path is not None for each in found):
        matcher.notes["Models with an adapter are left out: they are other models."] = 1
    benches, qualities = await tools.bench_runs.kept(), await tools.quality_runs.kept()
    evals = await tools.eval_runs.kept()
    evidence = await asyncio.to_thread(collect, entry.name, matcher, benches, qualities, evals)
    return await weigh(evidence, tools, n_ctx)


async def weigh(evidence: Evidence, tools: DecisionTools, n_ctx: int = 0) -> Evidence:
    """The same evidence with the memory of each contender for a context."""
    found = []
    for each in evidence.contenders:
        load = LoadSettings(num_ctx=n_ctx, type_k=each.settings.type_k, type_v=each.settings.type_v)
        place = await tools.adviser.footprint(evidence.entries[each.path], load)
        memory, largest = (None, None) if place is None else (place.total_bytes, place.largest_ctx)
        found.append(replace(each, memory_bytes=memory, largest_ctx=largest))
    return replace(evidence, contenders=tuple(found), n_ctx=n_ctx)


async def _file(entry: ModelEntry, tools: DecisionTools) -> KnownFile:
    path = Path(str(entry.path))

    def modified() -> int:
        try:
            return path.stat().st_mtime_ns
        except OSError:
            return 0

    return KnownFile(entry, str(path), await tools.digest(entry), await asyncio.to_thread(modified))


@dataclass
class _Speeds:
    """The speeds of a test."""

    test: BenchTest | None = None
    figures: dict[Way, Figure] = field(default_factory=dict)
    runs: dict[Way, str] = field(default_factory=dict)
    duels: dict[tuple[Way, Way], Comparison] = field(default_factory=dict)


@dataclass
class _Divergences:
    """The divergences on a text."""

    source: QualitySource | None = None
    reference: Way | None = None
    found: dict[Way, tuple[Figure, Sequence[Values]]] = field(default_factory=dict)


def collect(
    model: str,
    matcher: Matcher,
    benches: Sequence[BenchRecord],
    qualities: Sequence[QualityRecord],
    evals: Sequence[EvalRecord],
) -> Evidence:
    """The evidence in kept results, each kind the newest first; the newest result of each contender counts."""
    speeds, divergences, (source, cases) = (
        _speeds(matcher, benches),
        _divergences(matcher, qualities),
        _cases(matcher, evals),
    )
    ways = dict.fromkeys([*(Way(file, BenchSettings()) for file in matcher.files), *speeds.figures])
    for way in (divergences.reference, *divergences.found, *cases):
        if way is not None and not any(way.is_same_model(other) for other in ways):
            ways[way] = None
    order = {file.path: index for index, file in enumerate(matcher.files)}
    listed = sorted(ways, key=lambda way: (order[way.file.path], settings_words(way.settings)))
    keys = {way: _letters(index) for index, way in enumerate(listed)}
    evidence = Evidence(model, matcher.machine, test=speeds.test, evals=source)
    evidence.entries = {file.path: file.entry for file in matcher.files}
    contenders = []
    for way, key in keys.items():
        contender = replace(_contender(key, way), speed=speeds.figures.get(way))
        if divergences.reference is not None and way.is_same_model(divergences.reference):
            contender = replace(contender, kld=Figure(0.0, (0.0, 0.0)), is_reference=True)
        for other, (figure, tokens) in divergences.found.items():
            if way.is_same_model(other):
                contender, evidence.divergences[key] = replace(contender, kld=figure), tokens
        for other, verdicts in cases.items():
            if way.is_same_model(other):
                contender, evidence.cases[key] = _with_passes(contender, verdicts), verdicts
        contenders.append(contender)
    evidence.contenders = tuple(contenders)
    evidence.runs = {keys[way]: run for way, run in speeds.runs.items()}
    evidence.duels = {(keys[a], keys[b]): found for (a, b), found in speeds.duels.items() if a in keys and b in keys}
    if divergences.source is not None:
        reference = next(each.key for each in contenders if each.is_reference)
        evidence.quality = replace(divergences.source, reference=reference)
    evidence.notes = tuple(f"{text} ({count}×)" if count > 1 else text for text, count in matcher.notes.items())
    return evidence


def _contender(key: str, way: Way) -> Contender:
    file, settings = way.file, way.settings
    label = f"{file.entry.quant or Path(file.path).stem} {settings_words(settings)}".rstrip()
    return Contender(key, label, file.entry.ref, file.path, file.digest, file.size, settings)


def _with_passes(contender: Contender, verdicts: Mapping[CaseKey, bool]) -> Contender:
    passed, judged = sum(verdicts.values()), len(verdicts)
    return replace(contender, passes=Figure(passed / judged, wilson(passed, judged)), passed=passed, judged=judged)


def _letters(index: int) -> str:
    """The name of a contender by its number: `a` to `z`, then `aa`."""
    first, second = divmod(index, len(ascii_lowercase))
    return (ascii_lowercase[first - 1] if first else "") + ascii_lowercase[second]


_Group = TypeVar("_Group", bound=Hashable)


def _largest(groups: Mapping[_Group, Mapping[Way, object]]) -> _Group | None:
    """The group with the most contenders; of equal ones the first, which is the newest."""
    return max(groups, key=lambda group: len(groups[group]), default=None)


def _speeds(matcher: Matcher, records: Sequence[BenchRecord]) -> _Speeds:
    """Speeds in the test that most contenders have. Results that were disturbed count where there are no others."""
    runs: list[tuple[BenchRecord, DuelRecord | None, Sequence[BenchResult]]] = []
    for record in records:
        runs += [(record, None, record.results), *((record, duel, duel.results(record.at)) for duel in record.duels)]
    usual = (each.model.n_threads for _, _, some in runs for each in some if not each.case.settings.n_threads)
    matcher.usual_threads = next(usual, None)
    timed = [(duel, _decodes(matcher, record, some), record.id) for record, duel, some in runs]
    rows = [(2 * each.disturbed > len(each.samples), each, way, run) for _, some, run in timed for each, way in some]
    found: dict[BenchTest, dict[Way, tuple[BenchResult, str]]] = {}
    for _, each, way, run in sorted(rows, key=lambda row: row[0]):
        found.setdefault(each.case.test, {}).setdefault(way, (each, run))
    test = _largest(found)
    if test is None:
        return _Speeds()
    speeds = _Speeds(test)
    for way, (each, run) in found[test].items():
        speeds.figures[way], speeds.runs[way] = speed_figure(each.samples_ts), run
    for duel, some, _ in timed:
        if duel is not None and duel.a.test == test and len(some) == 2:
            first, second = (way for _, way in some)
            if (second, first) not in speeds.duels:
                speeds.duels.setdefault((first, second), duel.comparison)
    return speeds


def _decodes(matcher: Matcher, record: BenchRecord, results: Sequence[BenchResult]) -> list[tuple[BenchResult, Way]]:
    """The results that are speeds of decoding, and what they are of."""
    found = [(each, matcher.timed(each, record.machine)) for each in results if _is_decode(each.case.test)]
    return [(each, way) for each, way in found if way is not None]


def _is_decode(test: BenchTest) -> bool:
    return test.n_gen > 0 and not test.n_prompt and test.sequences == 1


def _divergences(matcher: Matcher, records: Sequence[QualityRecord]) -> _Divergences:
    """Divergences on the text that most contenders have."""
    found: dict[Hashable, dict[Way, tuple[QualityRecord, int]]] = {}
    firsts: dict[Hashable, tuple[Way, QualityRecord]] = {}
    for record in records:
        # An answer that was looked at through the lens is no text.
        reference = None if record.scores else matcher.scored(record.reference, record.machine)
        if reference is None:
            continue
        text = (reference, record.text_sha256, record.n_ctx, record.depth, _beginning(record))
        for index, candidate in enumerate(record.candidates):
            way = matcher.scored(candidate.model, record.machine)
            if way is not None and not way.is_same_model(reference):
                firsts.setdefault(text, (reference, record))
                found.setdefault(text, {}).setdefault(way, (record, index))
    chosen = _largest(found)
    if chosen is None:
        return _Divergences()
    reference, newest = firsts[chosen]
    words = newest.command
    options = next((tuple(words[at : at + 2]) for at, word in enumerate(words) if word in _TEXT_OPTIONS), ())
    depths = next((words[at + 1] for at, word in enumerate(words[:-1]) if word == "--depth"), "0").split(",")
    # Of several depths, all score the same tokens.
    skip = max((int(depth) for depth in depths if depth.isdecimal()), default=0) - newest.depth
    lengths = newest.n_ctx, newest.depth, max(0, skip)
    source = QualitySource("", newest.text, newest.text_sha256, *lengths, options)
    divergences = _Divergences(source, reference)
    for way, (record, index) in found[chosen].items():
        candidate = record.candidates[index]
        try:
            figures, tokens = record.figures[index], candidate.tokens.divergences(record.scored_of_chunk)
        except ValueError as error:
            matcher.leave_out("quality", str(error))
            continue
        if not math.isfinite(figures.mean_kld):
            matcher.leave_out("quality", f"the divergence of {candidate.model.label} is no number")
            continue
        if record.in_turn:
            matcher.notes["Divergences of models that were computed in turn are lower bounds."] = 1
        divergences.found[way] = Figure(figures.mean_kld, figures.kld_interval), tokens
    return divergences


def _beginning(record: QualityRecord) -> bytes:
    """What the reference found likeliest at first: the same where the same tokens of a text are scored."""
    try:
        return next(
            (chunk.best[:64].tobytes() for chunk in record.reference_tokens.chunks(record.scored_of_chunk)), b""
        )
    except ValueError:
        return b""


def _cases(matcher: Matcher, records: Sequence[EvalRecord]) -> tuple[EvalSource | None, dict[Way, dict[CaseKey, bool]]]:
    """The prompts that most contenders were asked, and the verdicts on each of their answers."""
    found: dict[EvalSource, dict[Way, dict[CaseKey, bool]]] = {}
    for record in records:
        for number, lane in enumerate(record.lanes):
            way = matcher.asked(lane, record)
            judged = {
                (result.case, result.question): verdict
                for result in record.results
                if result.answers[number] and (verdict := result.passed(number)) is not None
            }
            if way is not None and judged:
                found.setdefault(_eval_source(record, lane), {}).setdefault(way, judged)
    chosen = _largest(found)
    return chosen, {} if chosen is None else found[chosen]


def _eval_source(record: EvalRecord, lane: EvalLane) -> EvalSource:
    names = sorted(lane.settings) if isinstance(lane.settings, Mapping) else []
    values = ((name, value_in(lane.settings, name)) for name in names if name not in _LOAD_NAMES)
    own = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in values)
    pack = record.command[1] if len(record.command) > 1 else record.pack
    return EvalSource(pack, record.pack, record.pack_digest, record.cases, record.samples, lane.system, own)
