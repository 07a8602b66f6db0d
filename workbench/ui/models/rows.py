"""The rows of the list of models, computed without any widget.

Names come from files that nobody vouches for: they are made harmless on their way into a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from workbench.core.models import ModelEntry
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_path, padded, styled
from workbench.ui.models.model_list import Heading, Row, Shelf, group_of, sources

OPEN, MARKED, BROKEN, DIFFERS = "●", "✓", "!", "≠"
_STATE, _TENSORS, _BITS, _SIZE, _PARAMETERS, _CONTEXT = 4, 8, 6, 9, 8, 6
_ARCHITECTURE, _PLACE, _QUANT = 10, 14, 14
_LEAST_NAME, _MOST_NAME = 14, 60
_WIDE = 96
"""Columns from which a list without groups has room for everything."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Columns of the parts of a row; 0 for a part that is left out."""

    name: int
    quant: int
    tensors: int
    parameters: int
    architecture: int
    place: int

    @property
    def heading(self) -> int:
        """Columns that the name of a group may take: up to the parameters."""
        return self.name + self.quant + self.tensors + _BITS + _SIZE

    @property
    def common(self) -> int:
        """Columns of what the quantizations of a model have in common."""
        return self.parameters + self.architecture + _CONTEXT

    @property
    def problem(self) -> int:
        """Columns between name and place."""
        return self.tensors + _BITS + _SIZE + self.common


def widths_for(width: int, *, grouped: bool) -> Widths:
    """How a row of so many columns is divided."""
    wide = width >= _WIDE
    quant = 0 if grouped else _QUANT
    tensors = _TENSORS if grouped or wide else 0
    architecture = _ARCHITECTURE if grouped or wide else 0
    parameters = _PARAMETERS if grouped or wide else 0
    rest = width - _STATE - quant - tensors - parameters - architecture - _BITS - _SIZE - _CONTEXT - _PLACE
    spare = max(0, rest - _LEAST_NAME)
    name = _LEAST_NAME + (spare // 2 if grouped else min(spare, _MOST_NAME - _LEAST_NAME))
    return Widths(name, quant, tensors, parameters, architecture, max(8, _PLACE + rest - name))


def header_row(shelf: Shelf, width: int) -> Content:
    """The titles, an arrow where the list is sorted."""
    widths = widths_for(width, grouped=shelf.grouped)
    parts: list[tuple[str, str]] = [(" " * _STATE, "")]
    for title, order, room, right in _titles(shelf, widths):
        chosen = shelf.order.title == order
        arrow = (" ▲" if shelf.turned == shelf.order.descending else " ▼") if chosen else ""
        # The arrow of a column of figures stands in the gap before it.
        text = padded(f"{arrow.strip()}{title}" if right else f"{title}{arrow}", room, right=right)
        parts.append((text, "rows--sorted" if chosen else "rows--header"))
    return styled(*parts)


def _titles(shelf: Shelf, widths: Widths) -> list[tuple[str, str, int, bool]]:
    """Title, order, columns, and whether it stands to the right."""
    titles = [
        ("model" if shelf.grouped else "name", "name", widths.name, False),
        ("quant", "", widths.quant, False),
        ("tensors", "", widths.tensors, False),
        ("bits", "bits", _BITS, True),
        ("size", "size", _SIZE, True),
        ("params", "parameters", widths.parameters, True),
        ("  arch", "", widths.architecture, False),
        ("ctx", "context", _CONTEXT, True),
        ("  place", "place", widths.place, False),
    ]
    return [title for title in titles if title[2]]


def order_at(x: int, shelf: Shelf, width: int) -> str:
    """By what a click on the titles at `x` sorts; empty for nothing."""
    start = _STATE
    for _, order, room, _ in _titles(shelf, widths_for(width, grouped=shelf.grouped)):
        if start <= x < start + room:
            return order
        start += room
    return ""


def list_row(shelf: Shelf, row: Row, width: int, current: ModelEntry | None) -> Content:
    """A row of the list.

    Args:
        shelf: The list.
        row: One of its rows.
        width: Columns.
        current: The model that is open in the chat.
    """
    widths = widths_for(width, grouped=shelf.grouped)
    if isinstance(row, Heading):
        return _heading_row(row, widths)
    state = _state(shelf, row, current)
    above = shelf.headings.get(group_of(row)) if shelf.grouped else None
    name = _name(row, widths, above.name if above is not None else None)
    place = ("  " + place_text(row, widths.place - 2), "rows--dim")
    if row.problem:
        problem = cut(short_problem(row), max(1, widths.problem - 2))
        return styled(*state, *name, (padded(problem, widths.problem), "rows--error"), place)
    bits = f"{row.bits_per_weight:.2f}" if row.bits_per_weight is not None else fmt.DASH
    parts = [
        *state,
        *name,
        (_cell(row.tensor_quant, widths.tensors), "rows--warning" if row.label_mismatch else "rows--dim"),
        (bits.rjust(_BITS), ""),
        (fmt.size(row.size_bytes).rjust(_SIZE), "rows--figure"),
        *_common_parts(row, widths, above),
        place,
    ]
    return styled(*parts)


def _common_parts(of: ModelEntry, widths: Widths, above: Heading | None) -> list[tuple[str, str]]:
    """Parameters, architecture and context; below a heading only where it does not say the same."""
    other = above.common if above is not None else None
    parameters = "" if other and other.parameters == of.parameters else fmt.parameters(of.parameters)
    architecture = "" if other and other.architecture == of.architecture else of.architecture or fmt.DASH
    context = "" if other and other.context_length == of.context_length else context_text(of.context_length)
    indented = f"  {padded(architecture, widths.architecture - 3)} " if widths.architecture else ""
    return [
        (parameters.rjust(widths.parameters) if widths.parameters else "", ""),
        (indented, ""),
        (context.rjust(_CONTEXT), ""),
    ]


def _cell(text: str | None, room: int) -> str:
    """A text with a gap behind it, in a column of its own."""
    return padded(text or fmt.DASH, room - 1) + " " if room else ""


def _state(shelf: Shelf, model: ModelEntry, current: ModelEntry | None) -> list[tuple[str, str]]:
    is_open = current is not None and model.is_same(current)
    middle = (OPEN, "rows--good") if is_open else (BROKEN, "rows--error") if model.problem else (" ", "")
    return [(" ", ""), (MARKED if shelf.is_marked(model) else " ", "rows--accent"), middle, (" ", "")]


def _name(model: ModelEntry, widths: Widths, above: str | None) -> list[tuple[str, str]]:
    """Name and quantization; below a heading the name only where it is another one."""
    flag = f" {DIFFERS}" if model.label_mismatch else ""
    quant = cut(model.quant or fmt.DASH, 11)
    style = "rows--warning" if flag else "rows--accent"
    if above is None:
        name = (padded(model.name, widths.name - 1) + " ", "rows--strong")
        return [name, (quant, style), ((flag + " " * _QUANT)[: widths.quant - len(quant)], "rows--warning")]
    room = widths.name - 2 - len(quant) - len(flag)
    other = cut(f"  {model.name}", room - 1) if model.name != above and room > 7 else ""
    return [("  ", ""), (quant, style), (flag, "rows--warning"), (padded(other, max(0, room)), "rows--dim")]


def _heading_row(row: Heading, widths: Widths) -> Content:
    """Name and common figures of a base model, and how many quantizations there are."""
    count = len(row.members)
    kinds = f"{count} quant{'s' * (count != 1)}"
    room = widths.heading - 1
    name = cut(row.name, room)
    more = ""
    if row.folded and (labels := quants(row.members)):
        more = cut(f"  {labels}", max(0, room - len(name)))
    return styled(
        (" ▸ " if row.folded else " ▾ ", "rows--dim"),
        (" " * (_STATE - 3), ""),
        (name, "rows--heading"),
        (padded(more, widths.heading - len(name)), "rows--accent"),
        *(_common_parts(row.common, widths, None) if not row.common.problem else [(" " * widths.common, "")]),
        ("  " + cut(kinds, widths.place - 2), "rows--dim"),
    )


def quants(models: Sequence[ModelEntry]) -> str:
    """The quantizations of some models, each once."""
    return " ".join(dict.fromkeys(clean_line(model.quant) for model in models if model.quant))


def context_text(value: int | None) -> str:
    """A context length in few letters: `8K`, `128K`, `1M`."""
    if value is None:
        return fmt.DASH
    for unit, factor in (("M", 2**20), ("K", 1024)):
        if value >= factor:
            amount = f"{value / factor:.1f}".removesuffix(".0")
            return f"{amount}{unit}"
    return str(value)


def place_text(model: ModelEntry, width: int) -> str:
    """Where a model was found, and in how many places more."""
    more = len(model.places) - 1
    also = f" +{more}" if more > 0 else " ●" if model.loaded else ""
    source = sources(model)[0]
    room = max(1, width - len(also))
    return (cut_path(source, room) if "/" in source or "\\" in source else cut(source, room)) + also


def short_problem(model: ModelEntry) -> str:
    """Why a model cannot be opened, without the path that stands elsewhere."""
    problem = model.problem
    if model.path is not None:
        problem = problem.removeprefix(f"{model.path}: ")
    return problem
