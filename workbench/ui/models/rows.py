"""The rows of the list of models, computed without any widget.

Names come from untrusted files: they are sanitized on their way into a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from textual.content import Content

from workbench.core.models import ModelEntry, group_of
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import Column, Table
from workbench.ui.kit.text import cut, cut_path, short_problem, styled
from workbench.ui.models.model_list import Heading, ModelList, Row, sources

Value = TypeVar("Value")
OPEN, MARKED, BROKEN, DIFFERS = "●", "✓", "!", "≠"
_GAP = 1
_STATE, _TENSORS, _BITS, _SIZE, _PARAMETERS, _CONTEXT = 3, 7, 6, 9, 7, 5
_ARCHITECTURE, _PLACE, _QUANT = 9, 13, 13
_LEAST_NAME, _MOST_NAME = 13, 59
_WIDE = 96
"""Width from which a list without groups has room for all columns."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in the list."""

    model: ModelEntry
    above: Heading | None = None
    """The heading above it; None where every file has a row, and for the heading itself."""
    is_open: bool = False
    """Whether it is open in the chat."""
    is_marked: bool = False
    place: str = ""
    """The text of the last column; empty for the place of the model."""
    heading: Heading | None = None
    """The heading that this row is; None for a model."""


@lru_cache(maxsize=8)
def table_for(width: int, *, grouped: bool) -> Table[ListedModel]:
    """The columns of the list at a width."""
    full = grouped or width >= _WIDE
    fixed = [_STATE, _BITS, _SIZE, _CONTEXT, _PLACE]
    fixed += [_TENSORS, _PARAMETERS, _ARCHITECTURE] if full else []
    fixed += [] if grouped else [_QUANT]
    rest = width - sum(fixed) - _GAP * len(fixed)
    spare = max(0, rest - _LEAST_NAME)
    name = _LEAST_NAME + (spare // 2 if grouped else min(spare, _MOST_NAME - _LEAST_NAME))
    place = max(7, _PLACE + rest - name)
    columns: list[Column[ListedModel]] = [Column("", _state, _STATE)]
    if grouped:
        columns.append(Column("model", lambda row: _quant_below_heading(row, name), name))
    else:
        columns.append(Column("name", lambda row: row.model.name, name, style="rows--strong"))
        columns.append(Column("quant", _quant, _QUANT))
    if full:
        columns.append(Column("tensors", _tensors, _TENSORS))
    columns.append(Column("bits", lambda row: fmt.bits(row.model.bits_per_weight), _BITS, right=True))
    columns.append(Column("size", lambda row: fmt.size(row.model.size_bytes), _SIZE, right=True, style="rows--figure"))
    if full:
        weights = _unless_above(lambda model: model.parameters, fmt.parameters)
        columns.append(Column("params", weights, _PARAMETERS, right=True))
        kind = _unless_above(lambda model: model.architecture, lambda name: f" {name or fmt.DASH}")
        columns.append(Column(" arch", kind, _ARCHITECTURE))
    context = _unless_above(lambda model: model.context_length, context_text)
    columns.append(Column("ctx", context, _CONTEXT, right=True))
    columns.append(
        Column(" place", lambda row: f" {row.place or place_text(row.model, place - 1)}", place, style="rows--dim")
    )
    return Table(columns, gap=_GAP)


_ORDERS = {
    "model": "name", "name": "name", "bits": "bits", "size": "size", "params": "parameters", "ctx": "context",
    " place": "place",
}  # fmt: skip
"""The order that a click on the title of a column chooses."""


def header_row(models: ModelList, width: int) -> Content:
    """The titles, with an arrow where the list is sorted."""
    table = table_for(width, grouped=models.grouped)
    by = next((column for column in table.columns if _ORDERS.get(column.title) == models.order.title), None)
    return table.header(width, by, ascending=models.order.descending == models.reversed)


def order_at(x: int, models: ModelList, width: int) -> str:
    """The order that a click on the titles at offset `x` chooses; empty for none."""
    column = table_for(width, grouped=models.grouped).column_at(x, width)
    return _ORDERS.get(column.title, "") if column is not None else ""


def listed_model(models: ModelList, row: Row, current: ModelEntry | None) -> ListedModel:
    """All that a row of the list shows; `current` is the model that is open in the chat."""
    if isinstance(row, Heading):
        return ListedModel(row.common, place=fmt.counted(len(row.members), "quant"), heading=row)
    return ListedModel(
        row,
        models.headings.get(group_of(row)) if models.grouped else None,
        current is not None and row.is_same(current),
        models.is_marked(row),
    )


def list_row(item: ListedModel, width: int, *, grouped: bool) -> Content:
    """A row of the list."""
    table = table_for(width, grouped=grouped)
    last = len(table.columns) - 1
    problem = item.model.problem
    if (row := item.heading) is not None:
        more = f"  {quants(row.members)}" if row.folded else ""
        arrow = " ▸  " if row.folded else " ▾  "
        name = styled((arrow, "rows--dim"), (clean_line(row.name), "rows--heading"), (more, "rows--accent"))
        # The name takes the columns in which the quantizations of the model differ.
        return table.row(item, width, (0, last if problem else last - 3, name))
    if problem:
        text = styled((short_problem(item.model), "rows--error"))
        return table.row(item, width, (2 if grouped else 3, last, text))
    return table.row(item, width)


def _state(row: ListedModel) -> Content:
    middle = (OPEN, "rows--good") if row.is_open else (BROKEN, "rows--error") if row.model.problem else (" ", "")
    return styled((" ", ""), (MARKED if row.is_marked else " ", "rows--accent"), middle)


def _quant(row: ListedModel) -> Content:
    flag = f" {DIFFERS}" if row.model.label_mismatch else ""
    quant = cut(row.model.quant or fmt.DASH, 11)
    return styled((quant, "rows--warning" if flag else "rows--accent"), (flag, "rows--warning"))


def _quant_below_heading(row: ListedModel, width: int) -> Content:
    """The quantization, and the name where it is another one than that of the heading."""
    quant = Content("  ") + _quant(row)
    room = width - quant.cell_length
    if row.above is None or row.model.name == row.above.name or room <= 7:
        return quant
    return quant + styled((cut(f"  {row.model.name}", room), "rows--dim"))


def _tensors(row: ListedModel) -> Content:
    style = "rows--warning" if row.model.label_mismatch else "rows--dim"
    return styled((cut(row.model.tensor_quant or fmt.DASH, _TENSORS), style))


def _unless_above(value: Callable[[ModelEntry], Value], text: Callable[[Value], str]) -> Callable[[ListedModel], str]:
    """A cell that is empty where the heading above shows the same value."""

    def cell(row: ListedModel) -> str:
        shown = value(row.model)
        return "" if row.above and value(row.above.common) == shown else text(shown)

    return cell


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
    """The place of a model, and the number of further places."""
    more = len(model.places) - 1
    also = f" +{more}" if more > 0 else " ●" if model.loaded else ""
    source = sources(model)[0]
    room = max(1, width - len(also))
    return (cut_path(source, room) if "/" in source or "\\" in source else cut(source, room)) + also
