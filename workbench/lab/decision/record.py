"""The record of a decision as it is kept, and as Markdown, JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from workbench.core.bench import BenchMachine, BenchTest
from workbench.core.bench_loading import as_load_settings
from workbench.core.errors import DecisionError
from workbench.core.parameters import LoadSettings
from workbench.core.session import ExportFormat, Session
from workbench.core.units import UNKNOWN, figure_text, size_text
from workbench.lab.bench.bench import utc_now
from workbench.lab.bench.report import build_line, markdown
from workbench.lab.decision.constraints import Constraints
from workbench.lab.decision.contender import Contender, DecisionAnswer, Figure, Prefer
from workbench.lab.decision.decide import decide
from workbench.lab.decision.estimate import with_estimates
from workbench.lab.decision.evidence import Evidence
from workbench.lab.decision.plans import commands_of
from workbench.lab.decision.plot import mark_of, plot_rows
from workbench.lab.documents import csv_of, json_text


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision with all that it is from."""

    id: str
    """Sorts by time; names the decision."""
    at: str
    """UTC, ISO 8601."""
    command: tuple[str, ...]
    """The arguments of `workbench` that repeat it."""
    model: str
    """The base model."""
    machine: BenchMachine
    constraints: Constraints
    answer: DecisionAnswer
    contenders: tuple[Contender, ...] = ()
    """With estimates."""
    test: str = ""
    """What the speeds are from, as llama-bench writes it; empty for none."""
    text: str = ""
    text_sha256: str = ""
    pack: str = ""
    pack_digest: str = ""
    n_ctx: int = 0
    """The context that memory is estimated for; 0 for the default of the model."""
    commands: tuple[str, ...] = ()
    """What measures what is missing."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    def of(self, key: str) -> Contender | None:
        """The contender with a key."""
        return next((each for each in self.contenders if each.key == key), None)

    @property
    def chosen(self) -> Contender | None:
        """The best, or the best so far; None for none."""
        return self.of(self.answer.chosen)


def record_of(ref: str, evidence: Evidence, constraints: Constraints, prefer: Prefer, new_id: str) -> DecisionRecord:
    """Decide, and record it."""
    answer = decide(evidence, constraints, prefer)
    words = ["decide", ref]
    for name, value in asdict(constraints).items():
        words += [] if value is None else [f"--{name.replace('_', '-')}", f"{value:g}" if value < 1e5 else str(value)]
    words += [] if prefer == "auto" else ["--prefer", prefer]
    return DecisionRecord(
        new_id,
        utc_now(),
        tuple(words),
        evidence.model,
        evidence.machine,
        constraints,
        answer,
        with_estimates(evidence.contenders),
        "" if evidence.test is None else evidence.test.label,
        "" if evidence.quality is None else evidence.quality.text,
        "" if evidence.quality is None else evidence.quality.text_sha256,
        "" if evidence.evals is None else evidence.evals.name,
        "" if evidence.evals is None else evidence.evals.digest,
        evidence.n_ctx,
        () if answer.need is None else tuple(commands_of(answer.need, evidence)),
        evidence.notes,
    )


def load_of(contender: Contender, n_ctx: int = 0) -> LoadSettings:
    """The settings that load a contender as it was measured."""
    usual = LoadSettings(num_ctx=n_ctx)
    if not contender.own_options:
        return usual
    asked = as_load_settings(contender.settings, BenchTest(n_prompt=1))
    return replace(asked, num_ctx=n_ctx, num_batch=usual.num_batch, num_ubatch=usual.num_ubatch)


def modelfile_of(record: DecisionRecord, session_text: Callable[[Session, ExportFormat], str]) -> str:
    """A Modelfile of the choice; `session_text` writes a conversation, here one without words.

    Raises:
        WorkbenchError: There is no choice, or a Modelfile cannot hold a value.
    """
    chosen = record.chosen
    if chosen is None or record.answer.verdict != "choice":
        raise DecisionError("There is no choice that a Modelfile could hold.", "Measure what is missing first.")
    load = load_of(chosen, record.constraints.min_context or 0)
    at = datetime.fromisoformat(record.at).timestamp()
    session = Session(record.id, at, at, model=chosen.ref, model_path=chosen.path, load=load)
    return f"# {' '.join(record.answer.sentence.split())}\n{session_text(session, 'modelfile')}"


# As text

CONTENDER_COLUMNS = ("", "", "tokens/s", "95 %", "KLD", "95 %", "prompts", "file", "memory", "largest context")


def contender_cells(record: DecisionRecord, contender: Contender) -> list[str]:
    """What is known of a contender, a cell for each of `CONTENDER_COLUMNS`; `~` stands before estimates."""
    largest = max(each.file_bytes for each in record.contenders)
    kld = contender.kld
    return [
        f"{contender.key} {mark_of(contender, largest)}",
        contender.label + " *" * (contender.key == record.answer.chosen),
        _value(contender.speed, ".1f"),
        _ends(contender.speed, ".1f"),
        "reference" if contender.is_reference else _value(kld, ".4f"),
        UNKNOWN if contender.is_reference else _ends(kld, ".4f"),
        f"{contender.passed}/{contender.judged}" if contender.judged else UNKNOWN,
        size_text(contender.file_bytes),
        size_text(contender.memory_bytes),
        figure_text(contender.largest_ctx, ",d"),
    ]


def _value(figure: Figure | None, form: str) -> str:
    return UNKNOWN if figure is None else f"{'~' * figure.estimated}{figure.value:{form}}"


def _ends(figure: Figure | None, form: str) -> str:
    if figure is None or figure.interval is None or figure.estimated:
        return UNKNOWN
    return f"{figure.interval[0]:{form}} to {figure.interval[1]:{form}}"


def source_lines(record: DecisionRecord) -> list[str]:
    """What the figures are from."""
    context = f"a context of {record.n_ctx:,}" if record.n_ctx else "the model's default context"
    parts = [f"speed: {record.test}"] * bool(record.test) + [f"divergence: {record.text}"] * bool(record.text)
    parts += [f"prompts: {record.pack}"] * bool(record.pack) + [f"memory: an estimate for {context}"]
    return ["; ".join(parts) + "; ~ estimated from the others, * the choice.", *record.notes]


PLOT_WIDTH, PLOT_HEIGHT = 78, 16


def as_markdown(record: DecisionRecord) -> str:
    """The decision for people, as Markdown that a terminal can show."""
    limits = ", ".join(each.text for each in record.constraints.items) or "no constraints"
    lines = [f"# {record.model}: {limits}", "", record.answer.sentence, ""]
    if record.commands:
        more = "To find out more" if record.answer.verdict == "choice" else "To find out"
        lines += [f"{more}:", "", *(f"    {each}" for each in record.commands), ""]
    rows = [contender_cells(record, each) for each in record.contenders]
    lines += [markdown(CONTENDER_COLUMNS, rows), ""]
    plot = plot_rows(record.contenders, record.answer.chosen, PLOT_WIDTH, PLOT_HEIGHT)
    if plot:
        lines += ["```", *("".join(text for text, _ in row).rstrip() for row in plot), "```", ""]
    return "\n".join([*lines, *source_lines(record), build_line(record.machine)]) + "\n"


def as_json(record: DecisionRecord) -> dict[str, Any]:
    """The fields of `--json`."""
    chosen, rival = record.chosen, record.of(record.answer.rival)
    limits = record.constraints.items
    return {
        "id": record.id,
        "at": record.at,
        "model": record.model,
        "verdict": record.answer.verdict,
        "sentence": record.answer.sentence,
        "choice": None if chosen is None else chosen.label,
        "path": None if chosen is None else chosen.path,
        "rival": None if rival is None else rival.label,
        "need": None if record.answer.need is None else record.answer.need.kind,
        "commands": list(record.commands),
        "prefer": record.answer.prefer,
        "constraints": asdict(record.constraints),
        "contenders": [
            {
                **asdict(each),
                "settings": dict(each.own_options),
                "measured": each.is_measured,
                "constraints": {limit.aspect: limit.state(each) for limit in limits},
            }
            for each in record.contenders
        ],
        **{name: getattr(record, name) for name in ("test", "text", "text_sha256", "pack", "pack_digest", "n_ctx")},
        "notes": list(record.notes),
        "build_commit": record.machine.build_commit,
        "command": list(record.command),
    }


def as_csv(record: DecisionRecord) -> str:
    """One row a contender, with a heading."""
    rows = []
    for each in record.contenders:
        row: dict[str, object] = {"key": each.key, "contender": each.label, "chosen": each.key == record.answer.chosen}
        for name in ("speed", "kld", "passes"):
            figure: Figure | None = getattr(each, name)
            low, high = ("", "") if figure is None or figure.interval is None else figure.interval
            row |= {name: "" if figure is None else figure.value, f"{name}_low": low, f"{name}_high": high}
            row[f"{name}_estimated"] = figure is not None and figure.estimated
        for name in ("passed", "judged", "file_bytes", "memory_bytes", "largest_ctx", "path", "digest"):
            row[name] = getattr(each, name)
        rows.append(row)
    return csv_of(rows)


FORMS: Mapping[str, Callable[[DecisionRecord], str]] = {
    ".md": as_markdown,
    ".json": lambda record: json_text(as_json(record)),
    ".csv": as_csv,
}
"""How a decision is written, by the suffix of the file."""


def beside(first: DecisionRecord, second: DecisionRecord) -> str:
    """Two decisions as Markdown: what each says, every contender with the figures of both, and why they may differ."""
    pair = first, second
    lines = []
    for each in pair:
        limits = ", ".join(limit.text for limit in each.constraints.items) or "no constraints"
        lines += [f"{each.id}, {each.model}, {limits}: {each.answer.sentence}", ""]
    labels = dict.fromkeys(contender.label for each in pair for contender in each.contenders)
    rows = [[label, *_figures_beside(pair, label)] for label in labels]
    heads = ("", *(f"{name}, {order}" for name in ("tokens/s", "KLD", "prompts") for order in ("first", "second")))
    lines += [markdown(heads, rows), "* the choice, ~ an estimate.", *_reasons(first, second)]
    return "\n".join(lines) + "\n"


def _figures_beside(pair: tuple[DecisionRecord, DecisionRecord], label: str) -> list[str]:
    cells: list[tuple[str, str, str]] = []
    for record in pair:
        found = next((each for each in record.contenders if each.label == label), None)
        if found is None:
            cells.append((UNKNOWN, UNKNOWN, UNKNOWN))
            continue
        _, _, speed, _, kld, _, prompts, *_ = contender_cells(record, found)
        cells.append((speed + " *" * (found.key == record.answer.chosen), kld, prompts))
    return [cell for both in zip(*cells, strict=True) for cell in both]


def _reasons(first: DecisionRecord, second: DecisionRecord) -> list[str]:
    """What makes the figures of two decisions differ, apart from the models."""
    differing = {
        "The models are others.": first.model != second.model,
        "The two are of different machines or builds.": first.machine != second.machine,
        "The speeds are of different tests.": first.test != second.test,
        "The divergences are of different texts.": first.text_sha256 != second.text_sha256,
        "The prompts are of different packs.": (first.pack, first.pack_digest) != (second.pack, second.pack_digest),
        "The constraints differ.": first.constraints != second.constraints,
        "The preferences differ.": first.answer.prefer != second.answer.prefer,
    }
    return [text for text, differ in differing.items() if differ]
