"""The card that compares the models before and after a swap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.content import Content

from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import short_label, styled
from workbench.ui.widgets.lines import Lines
from workbench.ui.workspace.swap import Side, Swap

_LABEL, _COLUMN = 24, 12
"""Most columns of a name, and the columns of each figure."""


def swap_lines(swap: Swap) -> list[Content]:
    """A swap as a small table, in the component classes `swap--title`, `swap--label` and `swap--value`."""
    before, after = swap.before, swap.after
    names = [_name(side, other) for side, other in ((before, after), (after, before))]
    width = max(len(name) for name in (*names, "ratio"))
    lines = [
        styled((" → ".join(names), "swap--title")),
        _row("", width, ("size", "bits", "memory", "decode"), "swap--label"),
    ]
    for name, side in zip(names, (before, after), strict=True):
        model = side.model
        speed = fmt.DASH if side.decode_tps is None else f"{fmt.rate(side.decode_tps)} tok/s"
        if side is after and side.decode_tps is None:
            speed = "next answer"
        cells = (fmt.size(model.size_bytes), fmt.bits(model.bits_per_weight), fmt.size(side.memory_bytes), speed)
        note = styled(("  last time" if side.earlier else "", "swap--label"))
        lines.append(Content.assemble(_row(name, width, cells, "swap--value"), note))
    figures = [
        (each.model.size_bytes, each.model.bits_per_weight, each.memory_bytes, each.decode_tps)
        for each in (before, after)
    ]
    ratios = [f"{new / old:.2f} x" if old and new else fmt.DASH for old, new in zip(*figures, strict=True)]
    return [*lines, _row("ratio", width, ratios, "swap--label")]


def _name(side: Side, other: Side) -> str:
    """The quantization where the two differ only in that, else the name too."""
    model = side.model
    alike = model.name == other.model.name or (model.group and model.group == other.model.group)
    if alike and model.quant and model.quant != other.model.quant:
        return clean_line(model.quant)
    return short_label(model, _LABEL)


def _row(label: str, width: int, cells: Sequence[str], style: str) -> Content:
    return styled((f"  {label:<{width}}", "swap--label"), ("".join(f"{cell:>{_COLUMN}}" for cell in cells), style))


class SwapCard(Lines):
    """Shows what a swap of models changed."""

    DEFAULT_CSS = """
    SwapCard {
        margin: 1 0 0 0;
        padding: 0 1;
        border-left: thick $success;

        & > .swap--title {
            color: $title;
            text-style: bold;
        }

        & > .swap--label {
            color: $muted;
        }

        & > .swap--value {
            color: $foreground;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"swap--title", "swap--label", "swap--value"}

    def __init__(self, swap: Swap) -> None:
        super().__init__(classes="swap")
        self._lines = swap_lines(swap)

    @property
    def text(self) -> str:
        return "\n".join(line.plain.rstrip() for line in self._lines)

    def show(self, swap: Swap) -> None:
        self.set_lines(swap_lines(swap))
