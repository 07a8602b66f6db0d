"""The result of a measurement of quality, as text, Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from workbench.core.units import UNKNOWN, size_text
from workbench.lab.bench.report import build_line, markdown
from workbench.lab.documents import csv_of, json_text
from workbench.lab.quality.figures import PERCENTILES, Figures
from workbench.lab.quality.intervals import TOO_FEW, Interval, leaves_out
from workbench.lab.quality.record import QualityCandidate, QualityRecord, WorstPlace

SHOWN_PLACES = 3
"""The worst places of a candidate in a report for people."""

LOWER_BOUND = (
    "The models did not fit in memory together and were computed in turn: each divergence is a lower bound, from the "
    "256 likeliest tokens of the reference; all other figures are exact."
)

INTERVALS = (
    "95 % intervals by Student's t on the means of chunks, since tokens are correlated; ± as llama-perplexity prints "
    "it, for independent tokens."
)

_ROWS = (
    "size", "PPL", "  ±", "PPL ratio", "  95 %", "mean KLD", "  95 %", "median KLD", "KLD at 99 %", "largest KLD",
    "same top", "  95 %", "mean Δp", "RMS Δp",
)  # fmt: skip


def as_json(record: QualityRecord) -> dict[str, Any]:
    """The fields of `--json`."""
    ppl, error = record.reference_perplexity
    return {
        "id": record.id,
        "at": record.at,
        "reference": asdict(record.reference) | {"ppl": ppl, "ppl_error": error},
        "text": record.text,
        "text_sha256": record.text_sha256,
        "tokens": record.tokens,
        "scored": record.scored,
        "ppl": ppl,
        "n_ctx": record.n_ctx,
        "depth": record.depth,
        "in_turn": record.in_turn,
        "interrupted": record.interrupted,
        "build_commit": record.machine.build_commit,
        "candidates": [_candidate(*pair) for pair in zip(record.candidates, record.figures, strict=True)],
    }


def _candidate(candidate: QualityCandidate, found: Figures) -> dict[str, Any]:
    return {
        "model": candidate.model.label,
        "ref": candidate.model.ref,
        "quant": candidate.model.quant,
        "path": candidate.model.path,
        "digest": candidate.model.digest,
        "adapter": candidate.model.adapter,
        "adapter_digest": candidate.model.adapter_digest,
        "settings": asdict(candidate.model.settings),
        "scored": found.scored,
        "ppl": found.ppl,
        "ppl_error": found.ppl_error,
        "ppl_ratio": found.ppl_ratio,
        "ppl_ratio_interval": found.ratio_interval,
        "ln_ratio": found.ln_ratio,
        "ln_ratio_error": found.ln_ratio_error,
        "mean_kld": found.mean_kld,
        "mean_kld_error": found.mean_kld_error,
        "interval": found.kld_interval,
        **{f"p{at:g}": value for at, value in zip(PERCENTILES, found.percentiles, strict=True)},
        "max": found.max_kld,
        "min": found.min_kld,
        "mean_dp_pct": 100 * found.mean_dp,
        "rms_dp_pct": 100 * found.rms_dp,
        "same_top_pct": 100 * found.same_top,
        "same_top_interval_pct": _scaled(found.same_top_interval, 100),
        "first_flip": found.first_flip,
        "worst": [asdict(place) for place in candidate.worst],
    }


def _scaled(interval: Interval | None, factor: float) -> Interval | None:
    return None if interval is None else (interval[0] * factor, interval[1] * factor)


def short_labels(record: QualityRecord) -> list[str]:
    """What tells the models apart, the reference first: their labels without the words that all begin with."""
    words = [model.label.split() for model in (record.reference, *(each.model for each in record.candidates))]
    least = min(map(len, words)) - 1
    shared = next((at for at in range(least) if len({each[at] for each in words}) > 1), least)
    return [" ".join(each[shared:]) for each in words]


def table(record: QualityRecord) -> str:
    """The figures in a Markdown table, a column for each model, the reference first."""
    ppl, error = record.reference_perplexity
    mine, *others = short_labels(record)
    columns = [_cells(candidate, found) for candidate, found in zip(record.candidates, record.figures, strict=True)]
    size = size_text(record.reference.file_bytes)
    first = [size, f"{ppl:.4f}", f"{error:.4f}", *[UNKNOWN] * (len(_ROWS) - 3)]
    rows = [list(row) for row in zip(_ROWS, first, *columns, strict=True)]
    return markdown(("", f"{mine} (reference)", *others), rows)


def _cells(candidate: QualityCandidate, found: Figures) -> list[str]:
    return [
        size_text(candidate.model.file_bytes),
        f"{found.ppl:.4f}",
        f"{found.ppl_error:.4f}",
        f"{found.ppl_ratio:.4f}",
        _ends(found.ratio_interval, ".4f"),
        f"{found.mean_kld:.5f}",
        _ends(found.kld_interval, ".5f"),
        f"{found.percentile(50):.5f}",
        f"{found.percentile(99):.4f}",
        f"{found.max_kld:.4f}",
        f"{100 * found.same_top:.1f} %",
        _ends(_scaled(found.same_top_interval, 100), ".1f"),
        f"{100 * found.mean_dp:+.2f} %",
        f"{100 * found.rms_dp:.2f} %",
    ]


def _ends(interval: Interval | None, form: str) -> str:
    return UNKNOWN if interval is None else f"{interval[0]:{form}} to {interval[1]:{form}}"


def sentence(label: str, found: Figures) -> str:
    """A candidate's result in words."""
    if not found.max_kld and found.same_top == 1:
        return f"{label} gives the same distributions as the reference."
    change, interval = 100 * (found.ppl_ratio - 1), found.ratio_interval
    if interval is not None and not leaves_out(interval, 1):
        words = f"no difference in perplexity seen ({change:+.2f} %)"
    else:
        words = f"perplexity {abs(change):.2f} % {'higher' if change > 0 else 'lower'}"
    if interval is not None:
        words += f" [{100 * (interval[0] - 1):+.2f} to {100 * (interval[1] - 1):+.2f} %]"
    return f"{label}: {words}; another most likely token at {100 * (1 - found.same_top):.1f} % of the positions."


def places_text(places: Sequence[WorstPlace]) -> list[str]:
    """The worst places, one a line."""
    return [
        f"  KLD {place.kld:.3f} at {place.index:,}: {_shown(place.before)} → {_shown(place.written)}; "
        f"reference {_shown(place.reference)}, candidate {_shown(place.candidate)}"
        for place in places
    ]


def _shown(text: str) -> str:
    return repr(text[-40:])


def as_markdown(record: QualityRecord) -> str:
    """The whole result for people, as Markdown that a terminal can show."""
    chunks = record.scored // record.scored_of_chunk
    depth = f" at a depth of {record.depth:,}" if record.depth else ""
    stopped = f", stopped after {chunks} of {record.planned_chunks}" if record.interrupted else ""
    lines = [
        f"{record.text}: {record.tokens:,} tokens, {chunks} chunk{'s' * (chunks != 1)} of {record.n_ctx:,}{depth}, "
        f"{record.scored:,} scored{stopped}.",
        "",
        table(record).rstrip("\n"),
        "",
    ]
    for label, candidate, found in zip(short_labels(record)[1:], record.candidates, record.figures, strict=True):
        lines += [sentence(label, found), *places_text(candidate.worst[:SHOWN_PLACES])]
    known = all(found.kld_interval is not None for found in record.figures)
    lines += ["", INTERVALS if known else f"No 95 % intervals: {TOO_FEW}."]
    lines += [*([LOWER_BOUND] if record.in_turn else []), build_line(record.machine)]
    return "\n".join(lines) + "\n"


def as_csv(records: Sequence[QualityRecord]) -> str:
    """One row a candidate, with the fields of `--json` but its settings and worst places."""
    rows = []
    for record in records:
        for each in as_json(record)["candidates"]:
            row = {"reference": record.reference.label, "text": record.text, "depth": record.depth}
            for name, value in each.items():
                if name in ("settings", "worst"):
                    continue
                if "interval" in name:
                    row[f"{name}_low"], row[f"{name}_high"] = value or ("", "")
                else:
                    row[name] = value
            rows.append(row)
    return csv_of(rows)


def by_depth(records: Sequence[QualityRecord]) -> str:
    """The divergences of several depths in a Markdown table, a row for each candidate and depth."""
    rows = []
    for record in records:
        for label, found in zip(short_labels(record)[1:], record.figures, strict=True):
            ends = _ends(found.kld_interval, ".5f")
            rows.append((label, f"{record.depth:,}", f"{found.mean_kld:.5f}", ends, f"{100 * found.same_top:.1f} %"))
    rows.sort(key=lambda row: row[0])
    return markdown(("", "depth", "mean KLD", "95 %", "same top"), rows)


def _several_as_markdown(records: Sequence[QualityRecord]) -> str:
    parts = [as_markdown(record) for record in records]
    return "\n".join([*parts, by_depth(records)] if len(parts) > 1 else parts).rstrip("\n") + "\n"


def _several_as_json(records: Sequence[QualityRecord]) -> str:
    documents = [as_json(record) for record in records]
    return json_text(documents if len(records) > 1 else documents[0])


FORMS: Mapping[str, Callable[[Sequence[QualityRecord]], str]] = {
    ".md": _several_as_markdown,
    ".json": _several_as_json,
    ".csv": as_csv,
}
"""How the result is written, one record for each depth, by the suffix of the file."""


def beside(first: QualityRecord, second: QualityRecord) -> str:
    """Two measurements, one below the other, with what makes them differ."""
    notes = []
    if first.text_sha256 != second.text_sha256:
        notes.append("The texts differ: only ratios and divergences are comparable, and these only roughly.")
    if (first.n_ctx, first.depth) != (second.n_ctx, second.depth):
        notes.append("The chunks have different lengths or depths.")
    if first.machine != second.machine:
        notes.append("The two ran on different machines or builds.")
    if first.reference.digest != second.reference.digest:
        notes.append("The references are different files.")
    return "\n".join([f"{first.id}: {first.text}", table(first), f"{second.id}: {second.text}", table(second), *notes])
