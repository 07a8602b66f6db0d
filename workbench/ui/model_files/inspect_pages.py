"""The pages of a model file: warnings, metadata, tensors, types, chat template and tokenizer.

Nothing here is a widget. All text comes from an untrusted file: it is sanitized on its way into a row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

from textual.content import Content

from workbench.core.models import ModelEntry
from workbench.gguf.header import TensorInfo
from workbench.gguf.inspect import FoldedArray, FoldedValue, Inspection, ModelReport, TypeShare
from workbench.gguf.oddities import Oddity
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import Column, natural
from workbench.ui.kit.text import LONGEST_CELL, cut, heading, padded, pairs, paragraph, styled
from workbench.ui.model_files.pages import Page, TablePage, TextPage
from workbench.ui.model_files.template_page import template_page, tokenizer_lines

_BLOCK = re.compile(r"^blk\.\d+\.")
MetadataRow = tuple[str, FoldedValue]
"""A key of the metadata, and its value."""


def inspect_pages(report: ModelReport, mismatch: str = "") -> list[Page]:
    """The pages of a model file. Highlighting the template takes long: not for the event loop.

    `mismatch` is how the tensors contradict the label of the file; empty where they do not.
    """
    if mismatch:
        report = replace(report, warnings=(*report.warnings, Oddity("label", mismatch)))
    found = report.inspection
    vocab = found.tokenizer.vocab_size
    return [
        TextPage(
            "Overview",
            lambda width: _overview(report, width),
            f"▲{len(report.warnings)}" if report.warnings else "",
            "\n".join(warning.message for warning in report.warnings),
        ),
        TablePage(
            "Metadata",
            list(found.metadata.items()),
            _METADATA,
            lambda row: f"{row[0]} {row[1] if isinstance(row[1], str) else value_text(row[1])}",
            lambda row: f"{row[0]} = {value_text(row[1])}",
            "keys",
        ),
        TablePage("Tensors", found.tensors, _TENSORS, lambda t: f"{t.name} {t.type.name}", lambda t: t.name, "tensors"),
        TextPage("Types", lambda width: _types(found, width), str(len(found.types))),
        template_page(report),
        TextPage("Tokenizer", lambda width: tokenizer_lines(found, width), f"{vocab:,}" if vocab else ""),
    ]


def title_line(entry: ModelEntry, report: ModelReport | None, width: int) -> Content:
    """Name, quantization, size and architecture of a model in one row."""
    parts = [(" ", ""), (cut(entry.name, max(12, width // 2)), "gauge--model")]
    facts = report.inspection.facts if report else None
    quant = (facts.quant if facts else None) or entry.quant
    parts.append((f"  {clean_line(quant or fmt.DASH)}", "gauge--figure"))
    if report is not None and facts is not None:
        figures = [fmt.size(report.inspection.file_bytes), fmt.bits(facts.bits_per_weight, " bits")]
        figures += [fmt.parameters(facts.parameters) + " weights", clean_line(facts.architecture or fmt.DASH)]
        parts.append(("  " + " · ".join(figures), "gauge--value"))
    return styled(*parts)


def shape_text(tensor: TensorInfo) -> str:
    """The dimensions of a tensor, the fastest-running one first."""
    return " × ".join(map(str, tensor.shape))


def tensor_text(tensor: TensorInfo) -> str:
    """Everything about a tensor."""
    return (
        f"type      {tensor.type.name}, blocks of {tensor.type.block} weights in {tensor.type.block_bytes} bytes, "
        f"{tensor.type.bits_per_weight:.4g} bits per weight\n"
        f"shape     {shape_text(tensor)}, the first dimension runs fastest\n"
        f"weights   {tensor.elements:,}\n"
        f"bytes     {tensor.size_bytes:,}\n"
        f"offset    {tensor.offset:,} bytes behind the header"
    )


def value_text(value: FoldedValue | None) -> str:
    """A value of the metadata in one row."""
    if isinstance(value, FoldedArray):
        items = [f"“{item}”" if isinstance(item, str) else value_text(item) for item in value.first]
        more = [] if value.length <= len(items) else ["…"]
        return f"{value.length:,} × {value.element_type}" + (f": {', '.join(items + more)}" if items else "")
    match value:
        case None:
            return fmt.DASH
        case bool():
            return str(value).lower()
        case float():
            # Most are single precision, which has seven digits.
            return f"{value:.7g}"
    return str(value)


def _value_cell(row: MetadataRow) -> Content:
    match row[1]:
        case bool():
            style = "doc--builtin"
        case int() | float():
            style = "doc--number"
        case FoldedArray():
            style = "rows--accent"
        case _:
            style = ""
    return styled((cut(value_text(row[1]), LONGEST_CELL), style))


_METADATA: Sequence[Column[MetadataRow]] = (
    Column("key", itemgetter(0), 34, wide=42, key=itemgetter(0)),
    Column("value", _value_cell),
)
_TENSORS: Sequence[Column[TensorInfo]] = (
    Column("tensor", lambda tensor: tensor.name, key=lambda tensor: natural(tensor.name)),
    Column("type", lambda tensor: tensor.type.name, 8, style="rows--accent", key=lambda tensor: tensor.type.name),
    Column("shape", shape_text, 18, right=True, least=60),
    Column("weights", lambda tensor: fmt.parameters(tensor.elements), 9, right=True, least=100),
    Column("bits", lambda t: f"{t.type.bits_per_weight:.2f}", 8, right=True, descending=True,
           key=lambda t: t.type.bits_per_weight, least=90),
    Column("size", lambda tensor: fmt.size(tensor.size_bytes), 9, right=True, key=lambda tensor: tensor.size_bytes,
           descending=True),
)  # fmt: skip


# Overview


def _overview(report: ModelReport, width: int) -> list[Content]:
    found, facts = report.inspection, report.inspection.facts
    lines = _warnings(report, width)
    heads = _range(facts.head_counts)
    kv_heads = _range(facts.kv_head_counts)
    rows = [
        ("name", clean_line(facts.name or fmt.DASH)[:200]),
        ("architecture", clean_line(facts.architecture or fmt.DASH)),
        ("weights", f"{facts.parameters:,}"),
        ("layers", fmt.count(facts.block_count)),
        ("width", f"{fmt.count(facts.embedding_length)}, feed-forward {fmt.count(facts.feed_forward_length)}"),
        ("attention", f"{heads} heads, {kv_heads} for keys and values" if heads != fmt.DASH else fmt.DASH),
        ("trained context", f"{fmt.count(facts.context_length)} tokens" if facts.context_length else fmt.DASH),
        ("vocabulary", fmt.count(facts.vocab_size)),
        ("chat template", "yes" if facts.chat_template else "none"),
        ("format", f"GGUF version {found.version}"),
    ]
    if facts.expert_count:
        rows.insert(6, ("experts", f"{facts.expert_count:,}"))
    if len(found.paths) > 1:
        rows.append(("parts", f"{len(found.paths)} files"))
    lines += [heading("MODEL"), *pairs(rows, width), Content("")]
    lines += [heading("BYTES BY TENSOR TYPE"), *histogram(found.types, width)]
    label, main = facts.label, facts.main_type
    if label and main:
        bits = fmt.bits(facts.bits_per_weight, " bits")
        text = f"The label says {label}. Most bytes are {main}, and the average over all weights is {bits}."
        lines += [Content(""), *paragraph(clean_line(text), width, 2, "rows--dim")]
    return lines


def _warnings(report: ModelReport, width: int) -> list[Content]:
    if not report.warnings:
        return [styled(("✓ ", "rows--good"), ("There is nothing unusual in this file.", "")), Content("")]
    lines: list[Content] = []
    for warning in report.warnings:
        style = "rows--error" if warning.kind in _GRAVE else "rows--warning"
        first, *rest = paragraph(clean_line(warning.message[:600]), width, 2, style)
        lines += [styled(("▲ ", style)) + first[2:], *rest]
        if warning.hint:
            lines += paragraph(clean_line(warning.hint), width, 2, "rows--dim")
        lines.append(Content(""))
    return lines


_GRAVE = frozenset({"unloadable", "parts", "no_weights", "template"})
"""Kinds of warnings without whose repair the model cannot be used."""


def _range(values: Sequence[int]) -> str:
    if not values:
        return fmt.DASH
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def histogram(types: Sequence[TypeShare], width: int) -> list[Content]:
    """The bytes of the tensors of each type as bars."""
    room = max(8, min(60, width - 50))
    lines = []
    for share in types:
        eighths = max(1, round(share.fraction * room * 8))
        full, part = divmod(eighths, 8)
        bar = "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")
        lines.append(
            styled(
                (f"  {share.type:<8}", "rows--accent"),
                (bar, "rows--bar"),
                ("·" * (room - len(bar)), "rows--track"),
                (f" {100 * share.fraction:5.1f} %", "rows--figure"),
                (f"{fmt.size(share.bytes):>10}", ""),
                (f"  {fmt.counted(share.tensors, 'tensor')}", "rows--dim"),
            )
        )
    return lines or [styled(("  There are no tensors in this file.", "rows--dim"))]


# Types


def _types(found: Inspection, width: int) -> list[Content]:
    lines = [heading("BYTES BY TENSOR TYPE"), *histogram(found.types, width), Content("")]
    lines.append(heading("TYPES BY PART OF THE MODEL"))
    kinds: dict[str, Counter[str]] = {}
    sizes: Counter[str] = Counter()
    for tensor in found.tensors:
        part = _BLOCK.sub("", tensor.name)
        kinds.setdefault(part, Counter())[tensor.type.name] += 1
        sizes[part] += tensor.size_bytes
    total = sum(sizes.values()) or 1
    names = max(12, min(34, max((len(name) for name in kinds), default=12), width - 44))
    for part, size in sizes.most_common(_MOST_PARTS):
        mixed = " + ".join(f"{count} × {kind}" for kind, count in kinds[part].most_common())
        lines.append(
            styled(
                (f"  {padded(part, names)}", ""),
                (f"{100 * size / total:6.1f} %", "rows--figure"),
                (f"{fmt.size(size):>10}  ", ""),
                (cut(mixed, max(8, width - names - 21)), "rows--accent" if len(kinds[part]) == 1 else "rows--warning"),
            )
        )
    if len(sizes) > _MOST_PARTS:
        lines.append(styled((f"  and {len(sizes) - _MOST_PARTS:,} more", "rows--dim")))
    note = "A part that all layers have is one row; where it has several types, its layers differ."
    return [*lines, Content(""), *paragraph(note, width, 2, "rows--dim")]


_MOST_PARTS = 200
