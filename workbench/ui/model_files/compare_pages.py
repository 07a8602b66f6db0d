"""The pages of a comparison: how two model files differ in figures, tensor types, tensors and metadata."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from textual.content import Content

from workbench.gguf.header import TensorInfo
from workbench.gguf.inspect import Difference, Inspection, ModelReport, TensorChange, compare
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import Column, Table, natural
from workbench.ui.kit.text import cut, heading, paragraph, styled
from workbench.ui.model_files.inspect_pages import shape_text, value_text
from workbench.ui.model_files.pages import Page, TablePage, TextPage

_MANY_SHAPES = 0.5
"""Share of the tensors that two quantizations of one base model have in common, by name and shape."""


def why_unrelated(first: Inspection, second: Inspection) -> str:
    """Why two files are not quantizations of one base model; empty where they may be."""
    one, other = first.facts, second.facts
    if one.architecture != other.architecture:
        names = " and ".join(clean_line(facts.architecture or "none") for facts in (one, other))
        return f"their architectures differ ({names})"
    shapes = {tensor.name: tensor.shape for tensor in first.tensors}
    others = {tensor.name: tensor.shape for tensor in second.tensors}
    alike = sum(others.get(name) == shape for name, shape in shapes.items())
    if max(len(shapes), len(others)) and alike < _MANY_SHAPES * max(len(shapes), len(others)):
        return "most of their tensors have other names or shapes"
    if one.name != other.name and one.parameters != other.parameters:
        return "their names and their numbers of weights differ"
    return ""


def compare_pages(first: ModelReport, second: ModelReport) -> list[Page]:
    """The pages of a comparison. It reads all tensors: not for the event loop."""
    one, other = first.inspection, second.inspection
    difference = compare(one, other)
    return [
        TextPage("Overview", lambda width: _overview(one, other, difference, width)),
        TablePage(
            "Tensors",
            difference.tensors,
            _TENSORS,
            lambda change: f"{change.name} {_type(change.first)} {_type(change.second)}",
            lambda change: f"{change.name}: {tensor_form(change.first)} -> {tensor_form(change.second)}",
            "tensors differ",
        ),
        TablePage(
            "Metadata",
            [(key, value_text(old), value_text(new)) for key, (old, new) in difference.metadata.items()],
            _METADATA,
            " ".join,
            lambda change: f"{change[0]}: {change[1]} -> {change[2]}",
            "keys differ",
        ),
    ]


def _type(tensor: TensorInfo | None) -> str:
    return tensor.type.name if tensor else fmt.DASH


def _size(tensor: TensorInfo | None) -> str:
    return fmt.size(tensor.size_bytes) if tensor else fmt.DASH


def tensor_form(tensor: TensorInfo | None) -> str:
    """Type and shape of a tensor; a dash where a file does not have it."""
    return f"{tensor.type.name} {shape_text(tensor)}" if tensor else fmt.DASH


def _shapes(change: TensorChange) -> str:
    one, other = change.first, change.second
    if one and other:
        return shape_text(one) if one.shape == other.shape else f"{shape_text(one)} | {shape_text(other)}"
    return f"only in {'A' if one else 'B'}"


def _growth(change: TensorChange) -> float:
    one, other = change.first, change.second
    return (other.size_bytes if other else 0) - (one.size_bytes if one else 0)


_TENSORS: Sequence[Column[TensorChange]] = (
    Column("tensor", lambda change: change.name, key=lambda change: natural(change.name)),
    Column("A", lambda change: _type(change.first), 8, style="rows--first", key=lambda change: _type(change.first)),
    Column("B", lambda change: _type(change.second), 8, style="rows--second", key=lambda c: _type(c.second)),
    Column("shape", _shapes, 18, wide=22, right=True, least=60),
    Column("size A", lambda change: _size(change.first), 9, right=True, least=100),
    Column("size B", lambda change: _size(change.second), 9, right=True, least=100),
    Column("B - A", lambda c: _signed(_growth(c)), 9, right=True, key=_growth, descending=True),
)
_METADATA: Sequence[Column[tuple[str, str, str]]] = (
    Column("key", itemgetter(0), 26, wide=38, key=itemgetter(0)),
    Column("A", itemgetter(1), style="rows--first"),
    Column("B", itemgetter(2), style="rows--second"),
)


def _signed(value: float) -> str:
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{fmt.size(abs(round(value)))}"


def _overview(one: Inspection, other: Inspection, difference: Difference, width: int) -> list[Content]:
    lines: list[Content] = []
    if reason := why_unrelated(one, other):
        text = f"▲ They are different base models: {reason}. The figures below say little about their quality."
        lines += [*paragraph(text, width, 0, "rows--warning"), Content("")]
    elif one.paths == other.paths:
        lines += [*paragraph("▲ Both are the same file.", width, 0, "rows--warning"), Content("")]
    else:
        text = "They seem to be quantizations of one base model: architecture, tensors and shapes agree."
        first, *rest = paragraph(text, width, 2)
        lines += [styled(("✓ ", "rows--good")) + first[2:], *rest, Content("")]
    lines += [*_figures(one, other, width), Content("")]
    lines += [heading("TENSOR TYPES, FROM A TO B"), *_type_changes(difference, width), Content("")]
    same = f"{difference.same_tensors:,} tensors have the same type and shape in both; their values are not compared."
    return [*lines, *paragraph(same, width, 2, "rows--dim")]


def _figures(first: Inspection, second: Inspection, width: int) -> list[Content]:
    one, other = first.facts, second.facts
    templates = ["yes" if facts.chat_template else "none" for facts in (one, other)]
    if templates == ["yes", "yes"] and one.chat_template != other.chat_template:
        templates[1] = "another"
    sizes, bits = (first.file_bytes, second.file_bytes), (one.bits_per_weight, other.bits_per_weight)
    rows: list[tuple[str, str, str, str]] = [
        ("file size", fmt.size(sizes[0]), fmt.size(sizes[1]), _ratio(*sizes)),
        ("per weight", fmt.bits(bits[0], " bits"), fmt.bits(bits[1], " bits"), _ratio(*bits)),
        ("weights", fmt.parameters(one.parameters), fmt.parameters(other.parameters), ""),
        ("label", one.label or fmt.DASH, other.label or fmt.DASH, ""),
        ("most bytes", one.main_type or fmt.DASH, other.main_type or fmt.DASH, ""),
        ("architecture", one.architecture or fmt.DASH, other.architecture or fmt.DASH, ""),
        ("layers", fmt.count(one.block_count), fmt.count(other.block_count), ""),
        ("trained context", fmt.count(one.context_length), fmt.count(other.context_length), ""),
        ("vocabulary", fmt.count(one.vocab_size), fmt.count(other.vocab_size), ""),
        ("chat template", templates[0], templates[1], ""),
    ]
    room = max(12, min(26, (width - 30) // 2))
    table = Table[tuple[str, str, str, str]](
        [
            Column("", itemgetter(0), 17, style="rows--dim"),
            Column("A", lambda row: _figure(row[1], row), room),
            Column("B", lambda row: _figure(row[2], row), room),
            Column("", itemgetter(3), style="rows--dim"),
        ],
        indent=2,
        gap=0,
    )
    return [table.header(width), *(table.row(row, width) for row in rows)]


def _figure(text: str, row: tuple[str, str, str, str]) -> Content:
    return styled((clean_line(text), "" if row[1] == row[2] else "rows--strong"))


def _ratio(first: float | None, second: float | None) -> str:
    return f"B is {second / first:.2f} × A" if first and second else ""


def _type_changes(difference: Difference, width: int) -> list[Content]:
    room = max(6, min(30, (width - 56) // 2))
    most = max((max(c.first_bytes, c.second_bytes) for c in difference.types), default=1) or 1
    lines = []
    for change in difference.types:
        bars = [round(size / most * room) for size in (change.first_bytes, change.second_bytes)]
        lines.append(
            styled(
                (f"  {cut(change.first or fmt.DASH, 8):<8}", "rows--first"),
                (" → ", "rows--dim"),
                (f"{cut(change.second or fmt.DASH, 8):<8}", "rows--second"),
                (f"{change.tensors:>6,} tensor{'s' if change.tensors != 1 else ' '} ", ""),
                (f"{fmt.size(change.first_bytes):>9} ", ""),
                ("█" * bars[0] + " " * (room - bars[0]), "rows--first"),
                (f"{fmt.size(change.second_bytes):>9} ", ""),
                ("█" * bars[1], "rows--second"),
            )
        )
    return lines or [styled(("  All tensors have the same types and shapes.", "rows--dim"))]
