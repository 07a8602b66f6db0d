"""What is known of a model, as lines beside the list of models."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from workbench.core.models import ModelEntry, Place
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import styled
from workbench.ui.model_files.pages import cut, cut_path, heading, paragraph
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.models.model_list import Heading
from workbench.ui.models.rows import context_text, short_problem


def title_lines(model: ModelEntry, width: int) -> list[Content]:
    """Name and figures of a model."""
    bits = f"{model.bits_per_weight:.2f} bits" if model.bits_per_weight is not None else ""
    figures = [bits, fmt.size(model.size_bytes) if model.size_bytes is not None else ""]
    facts = [
        f"{fmt.parameters(model.parameters)} weights" if model.parameters else "",
        model.architecture or "",
        f"context {model.context_length:,}" if model.context_length else "",
    ]
    quant = cut(model.quant or fmt.DASH, 14)
    rest = " · ".join(figure for figure in figures if figure)
    return [
        *paragraph(clean_line(model.name), width, 0, "rows--name")[:2],
        styled((quant, "rows--accent"), (cut(f"  {rest}", width - len(quant)), "")),
        styled((cut(" · ".join(fact for fact in facts if fact), width), "rows--dim")),
    ]


def warning_lines(model: ModelEntry, width: int) -> list[Content]:
    """What is wrong with a model."""
    lines: list[Content] = []
    if model.problem:
        lines += paragraph(f"! {clean_line(short_problem(model))}", width, 0, "rows--error")
    if model.label_mismatch:
        lines += paragraph(f"≠ {clean_line(model.label_mismatch)}", width, 0, "rows--warning")
    return lines


def detail_lines(model: ModelEntry, width: int) -> list[Content]:
    """Where a model lies, what its tensors are, and its digest."""
    lines: list[Content] = []
    if model.tensor_quant:
        lines.append(styled(("most tensors  ", "rows--dim"), (cut(model.tensor_quant, width - 14), "")))
    places = model.places or ((Place(model.source, model.path, model.ref),) if model.path else ())
    if places:
        count = len(places)
        title = "IT LIES HERE" if count == 1 else f"IT LIES IN {count} PLACES, ONE FILE"
        lines += [Content(""), heading(title)]
    for place in places:
        name = f"{place.source}: {place.name}" if place.name else place.source
        is_path = not place.name and "/" in name
        # What is named after its folder says nothing that its path does not.
        lines += [] if is_path else [styled((cut(name, width), "rows--strong"))]
        lines += path_lines(place.path, width)
    if model.digest:
        lines.append(styled((cut(f"sha256 {model.digest.removeprefix('sha256:')}", width), "rows--dim")))
    return lines


def path_lines(path: str, width: int, most: int = 3) -> list[Content]:
    """A path in a few rows; of one that is longer still its end."""
    text = cut_path(path, width * most)
    return [styled((text[start : start + width], "rows--dim")) for start in range(0, max(1, len(text)), width)][:most]


def heading_lines(row: Heading, width: int) -> list[Content]:
    """Name and figures of a base model."""
    sizes = [model.size_bytes for model in row.members if model.size_bytes]
    count = len(row.members)
    first: Sequence[str] = [f"{count} quantization{'s' * (count != 1)}"]
    if sizes:
        smallest, largest = fmt.size(min(sizes)), fmt.size(max(sizes))
        first = [*first, smallest if smallest == largest else f"{smallest} to {largest}"]
    model = row.members[0]
    facts = [
        f"{fmt.parameters(model.parameters)} weights" if model.parameters else "",
        model.architecture or "",
        f"context {context_text(model.context_length)}" if model.context_length else "",
    ]
    return [
        *paragraph(clean_line(row.name), width, 0, "rows--name")[:2],
        styled((cut(" · ".join(first), width), "")),
        styled((cut(" · ".join(fact for fact in facts if fact), width), "rows--dim")),
    ]
