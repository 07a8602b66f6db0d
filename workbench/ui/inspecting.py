"""A model file as pages: what is odd about it, its metadata, tensors, types, chat template and tokenizer.

Nothing here is a widget, and everything is text from a file that nobody vouches for: it is made harmless on its way
into a row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from textual.content import Content, Span

from workbench.core.models import ModelEntry
from workbench.gguf.header import TensorInfo
from workbench.gguf.inspect import FoldedArray, FoldedValue, Inspection, ModelReport, TypeShare
from workbench.gguf.oddities import Oddity
from workbench.ui import format as fmt
from workbench.ui.document.code import highlight
from workbench.ui.gauges import styled
from workbench.ui.pages import Column, Page, TablePage, TextPage, cut, heading, padded, pairs, paragraph
from workbench.ui.sanitize import clean, clean_line

BESIDE = 110
"""Columns from which a chat template and what it makes stand side by side."""
LONGEST_TEMPLATE = 200_000
"""Characters of a chat template that are shown: a file may hold megabytes of it."""
LONGEST_LINE = 8_000
"""Characters up to which a line of it is in colour."""
_TOKEN_TYPES = {1: "text", 2: "unknown", 3: "control", 4: "user-defined", 5: "unused", 6: "byte"}
_ROLES = {
    "bos": "begins a text (BOS)",
    "eos": "ends a text (EOS)",
    "eot": "ends a turn (EOT)",
    "eom": "ends a message (EOM)",
    "unknown": "unknown",
    "separator": "separator",
    "padding": "padding",
    "mask": "mask",
    "fim_prefix": "before a gap (FIM)",
    "fim_suffix": "after a gap (FIM)",
    "fim_middle": "fills a gap (FIM)",
}
_SPECIAL = re.compile(r"<[|｜][^|｜\n]{1,40}[|｜]>|\[/?[A-Z_]{2,20}\]|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos)>")
_NUMBER = re.compile(r"\d{1,8}")
_BLOCK = re.compile(r"^blk\.\d+\.")


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """A key of the metadata."""

    key: str
    value: FoldedValue


def inspect_pages(report: ModelReport, mismatch: str = "") -> list[Page]:
    """The pages of a model file. It highlights the template: not for the event loop.

    Args:
        report: The file.
        mismatch: How its tensors contradict its label; empty where they do not.
    """
    if mismatch:
        report = replace(report, warnings=(*report.warnings, Oddity("label", mismatch)))
    found = report.inspection
    rows = [MetadataRow(key, value) for key, value in found.metadata.items()]
    template = found.facts.chat_template
    others = len(found.tokenizer.templates)
    vocab = found.tokenizer.vocab_size
    return [
        TextPage(
            "Overview",
            lambda width: _overview(report, width),
            f"▲{len(report.warnings)}" if report.warnings else "",
            "\n".join(warning.message for warning in report.warnings),
        ),
        TablePage("Metadata", rows, _METADATA, _searched, lambda row: f"{row.key} = {value_text(row.value)}", "keys"),
        TablePage("Tensors", found.tensors, _TENSORS, lambda t: f"{t.name} {t.type.name}", lambda t: t.name, "tensors"),
        TextPage("Types", lambda width: _types(found, width), str(len(found.types))),
        _TemplatePage(report, others),
        TextPage("Tokenizer", lambda width: _tokenizer(found, width), f"{vocab:,}" if vocab else "", template or ""),
    ]


def title_lines(entry: ModelEntry, report: ModelReport | None, width: int) -> Content:
    """What a model is, in one row."""
    parts = [(" ", ""), (cut(entry.name, max(12, width // 2)), "gauge--model")]
    facts = report.inspection.facts if report else None
    quant = (facts.quant if facts else None) or entry.quant
    parts.append((f"  {clean_line(quant or fmt.DASH)}", "gauge--figure"))
    if report is not None and facts is not None:
        figures = [fmt.size(report.inspection.file_bytes), bits_text(facts.bits_per_weight)]
        figures += [fmt.parameters(facts.parameters) + " weights", clean_line(facts.architecture or fmt.DASH)]
        parts.append(("  " + " · ".join(figures), "gauge--value"))
    return styled(*parts)


def bits_text(bits: float | None) -> str:
    """Bits per weight."""
    return f"{bits:.2f} bits" if bits is not None else fmt.DASH


def natural(name: str) -> str:
    """`name` so that its numbers are sorted as numbers."""
    return _NUMBER.sub(lambda digits: digits[0].zfill(8), name)


def shape_text(tensor: TensorInfo) -> str:
    """The dimensions of a tensor, the one that runs fastest first."""
    return " × ".join(map(str, tensor.shape))


def tensor_text(tensor: TensorInfo) -> str:
    """Everything about a tensor."""
    return (
        f"type      {tensor.type.name}, blocks of {tensor.type.block} weights in {tensor.type.block_bytes} bytes, "
        f"{tensor.type.bits_per_weight:.4g} bits per weight\n"
        f"shape     {shape_text(tensor)}, the first one runs fastest\n"
        f"weights   {tensor.elements:,}\n"
        f"bytes     {tensor.size_bytes:,}\n"
        f"begins    {tensor.offset:,} bytes behind the header"
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
            # Most are single precision: more digits than that are noise.
            return f"{value:.7g}"
    return str(value)


def _searched(row: MetadataRow) -> str:
    return f"{row.key} {row.value if isinstance(row.value, str) else value_text(row.value)}"


def _value_style(row: MetadataRow) -> str:
    match row.value:
        case bool():
            return "doc--builtin"
        case int() | float():
            return "doc--number"
        case FoldedArray():
            return "rows--accent"
    return ""


_METADATA: Sequence[Column[MetadataRow]] = (
    Column("key", lambda row: row.key, 34, wide=42, key=lambda row: row.key),
    Column("value", lambda row: value_text(row.value), style=_value_style),
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
        bits = bits_text(facts.bits_per_weight)
        said = f"The label says {label}. Most bytes are {main}, and all weights together have {bits} on average."
        lines += [Content(""), *paragraph(clean_line(said), width, 2, "rows--dim")]
    return lines


def _warnings(report: ModelReport, width: int) -> list[Content]:
    if not report.warnings:
        return [styled(("✓ ", "rows--good"), ("Nothing odd was found in this file.", "")), Content("")]
    lines: list[Content] = []
    for warning in report.warnings:
        style = "rows--error" if warning.kind in _GRAVE else "rows--warning"
        first, *rest = paragraph(clean_line(warning.message[:600]), width, 2)
        lines += [styled(("▲ ", style)) + Content(first.plain[2:]).stylize(style)]
        lines += [line.stylize(style) for line in rest]
        if warning.hint:
            lines += paragraph(clean_line(warning.hint), width, 2, "rows--dim")
        lines.append(Content(""))
    return lines


_GRAVE = frozenset({"unloadable", "parts", "no_weights", "template"})
"""What keeps a model from being used as it is."""


def _range(values: Sequence[int]) -> str:
    if not values:
        return fmt.DASH
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def histogram(types: Sequence[TypeShare], width: int) -> list[Content]:
    """How many bytes the tensors of each type have."""
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
                (f"  {share.tensors:,} tensor{'s' * (share.tensors != 1)}", "rows--dim"),
            )
        )
    return lines or [styled(("  There are no tensors in it.", "rows--dim"))]


# Types


def _types(found: Inspection, width: int) -> list[Content]:
    lines = [heading("BYTES BY TENSOR TYPE"), *histogram(found.types, width), Content("")]
    lines.append(heading("WHICH TENSORS HAVE WHICH TYPE"))
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
    note = "A part of all layers counts as one; where it has several types, its layers differ."
    return [*lines, Content(""), *paragraph(note, width, 2, "rows--dim")]


_MOST_PARTS = 200


# Template


class _TemplatePage(TextPage):
    """The chat template, and what it makes of a conversation."""

    def __init__(self, report: ModelReport, templates: int) -> None:
        source = report.inspection.facts.chat_template or ""
        super().__init__("Template", self._arranged, "" if source or templates else "none", source)
        self._report = report
        code = highlight(clean(source[:LONGEST_TEMPLATE]), "jinja") if source else []
        # Folding a line takes time with the square of its colours.
        self._code = [line if len(line) <= LONGEST_LINE else Content(line.plain) for line in code]
        self._is_cut = len(source) > LONGEST_TEMPLATE

    def _arranged(self, width: int) -> list[Content]:
        if not self._code:
            return self._absent(width)
        if width < BESIDE:
            return [*self._sample(width), Content(""), *self._source(width)]
        left = (width - 3) * 11 // 20
        source, sample = self._source(left), self._sample(width - 3 - left)
        lines = []
        for number in range(max(len(source), len(sample))):
            one = source[number] if number < len(source) else Content("")
            other = sample[number] if number < len(sample) else Content("")
            fill = Content(" " * max(0, left - one.cell_length))
            lines.append(one + fill + styled((" │ ", "rows--track")) + other)
        return lines

    def _absent(self, width: int) -> list[Content]:
        others = ", ".join(self._report.inspection.tokenizer.templates)
        text = "This file brings no chat template. In a chat, ChatML is assumed; a base model is better used raw."
        if others:
            text += f" It has others, which are not used: {clean_line(others)}."
        return paragraph(text, width, 0, "rows--dim")

    def _source(self, width: int) -> list[Content]:
        lines = [heading("CHAT TEMPLATE")]
        for line in self._code:
            lines += line.fold(width) if line.cell_length > width else [line]
        if self._is_cut:
            lines.append(styled((f"… cut after {LONGEST_TEMPLATE:,} characters", "rows--warning")))
        return lines

    def _sample(self, width: int) -> list[Content]:
        lines = [heading("A CONVERSATION IN IT")]
        if self._report.sample is None:
            problems = [each for each in self._report.warnings if each.kind == "template"]
            for problem in problems:
                lines += paragraph(clean_line(problem.message[:600]), width, 0, "rows--error")
                lines += paragraph(clean_line(problem.hint), width, 0, "rows--dim")
            return lines
        text = clean(self._report.sample[:LONGEST_TEMPLATE])
        tokens = [token.text for token in self._report.inspection.tokenizer.special if token.text]
        content = Content(text, _special_spans(text, tokens))
        for line in content.split("\n", allow_blank=True):
            lines += line.fold(width) if line.cell_length > width else [line]
        return lines


def _special_spans(text: str, tokens: Sequence[str]) -> list[Span]:
    """Where the control tokens are."""
    spans = [Span(*match.span(), "rows--special") for match in _SPECIAL.finditer(text)]
    for token in {clean(token) for token in tokens if len(token) > 2}:
        spans += [Span(*match.span(), "rows--special") for match in re.finditer(re.escape(token), text)]
    return spans


# Tokenizer


def _tokenizer(found: Inspection, width: int) -> list[Content]:
    facts = found.tokenizer
    if facts.model is None:
        return paragraph("This file brings no tokenizer.", width, 0, "rows--warning")
    said = " (llama.cpp's choice: the file does not say)" if facts.adds_by_default else ""
    rows = [
        ("kind", clean_line(facts.model)),
        ("splitting rule", clean_line(facts.rule or fmt.DASH)),
        ("vocabulary", fmt.count(facts.vocab_size)),
        ("merges", fmt.count(facts.merges)),
        ("adds BOS", f"{'yes' if facts.adds_bos else 'no'}{said}"),
        ("adds EOS", "yes" if facts.adds_eos else "no"),
        ("templates", clean_line(", ".join(facts.templates)) or "none"),
    ]
    lines = [heading("TOKENIZER"), *pairs(rows, width), Content(""), heading("SPECIAL TOKENS")]
    for token in facts.special:
        text = "not in the vocabulary" if token.text is None else token.text
        kind = _TOKEN_TYPES.get(token.type or 0, "")
        note = "by default" if token.by_default else ""
        lines.append(
            styled(
                (f"  {_ROLES.get(token.role, token.role):<22}", "rows--dim"),
                (f"{token.id:>8}  ", "doc--number"),
                (
                    padded(text, max(12, min(32, width - 62))),
                    "rows--warning" if token.text is None else "rows--special",
                ),
                (f"  {kind:<12}", ""),
                (note, "rows--dim"),
            )
        )
    if not facts.special:
        lines.append(styled(("  none", "rows--dim")))
    note = "All tokens: choose tokenizer.ggml.tokens among the metadata."
    return [*lines, Content(""), *paragraph(note, width, 2, "rows--dim")]
