"""Whether a model fits, as lines: computed without any widget, from what the arithmetic and the machine say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from workbench.core.models import LoadRecord, ModelEntry
from workbench.gguf.fit import Share
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar, level
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_line, paragraph, styled
from workbench.ui.models.fit import FitEstimate, usable_bytes
from workbench.ui.models.what_if import WhatIf

FLOATS = ("f16", "f32", "bf16")
"""Types of values that work without flash attention."""
_DEVICE, _FIGURE = 6, 8
_LABEL = 17


def fit_summary(estimate: FitEstimate) -> tuple[str, str]:
    """Whether it fits, in words, and the style of them."""
    if short := estimate.short_of:
        lacks = ", ".join(f"{fmt.size(missing)} on {clean_line(name)}" for name, missing in short)
        return f"✗ does not fit: {lacks} missing", "rows--error"
    if estimate.closing:
        return f"✓ fits once {clean_line(estimate.closing)} is closed", "rows--warning"
    return f"✓ fits, {fmt.size(estimate.spare_bytes)} to spare", "rows--good"


def fit_lines(estimate: FitEstimate, what_if: WhatIf, keys: Sequence[str], width: int) -> list[Content]:
    """The figures device by device, the fit_summary, and what can be changed.

    Args:
        estimate: The figures.
        what_if: The settings.
        keys: The keys for context, K, V, GPU layers, flash attention and batch, and for the longest context.
        width: Columns.
    """
    words, style = fit_summary(estimate)
    return [
        *_device_lines(estimate.fit.shares, width),
        *_adapter_lines(estimate, width),
        *paragraph(words, width, 0, style),
        Content(""),
        *_setting_lines(estimate, what_if, keys, width),
    ]


def _device_lines(shares: Sequence[Share], width: int) -> list[Content]:
    titles = "".join(title.rjust(_FIGURE) for title in ("weights", "KV", "compute", "total"))
    lines = [styled(("".ljust(_DEVICE) + titles, "rows--dim"))]
    for share in shares:
        sizes = [fmt.size(part) for part in (share.weights_bytes, share.kv_bytes, share.compute_bytes)]
        lines.append(
            styled(
                (cut(share.device.name, _DEVICE - 1).ljust(_DEVICE), "rows--strong"),
                ("".join(text.rjust(_FIGURE) for text in sizes), ""),
                (fmt.size(share.total_bytes).rjust(_FIGURE), "rows--figure"),
            )
        )
        usable = max(0, usable_bytes(share.device))
        part = share.total_bytes / usable if usable else 1.0
        free = f" of {fmt.size(usable)} free"
        track = styled(("".ljust(_DEVICE), "")) + bar(min(1.0, part), max(4, min(width, 46) - _DEVICE - len(free)))
        colour = {"gauge--bar": "rows--bar", "gauge--warn": "rows--warning", "gauge--critical": "rows--error"}
        lines.append(_restyled(track, colour[level(part)]) + styled((free, "rows--dim")))
    return lines


def _adapter_lines(estimate: FitEstimate, width: int) -> list[Content]:
    size = estimate.adapter_bytes
    return [styled((cut(f"Of the weights, {fmt.size(size)} are the adapter's.", width), "rows--dim"))] if size else []


def _restyled(track: Content, full: str) -> Content:
    """A bar in the classes of a list."""
    text = track.plain
    filled = len(text.rstrip("─"))
    return styled((text[:filled], full), (text[filled:], "rows--track"))


def _setting_lines(estimate: FitEstimate, what_if: WhatIf, keys: Sequence[str], width: int) -> list[Content]:
    question, settings, changed = estimate.question, what_if.settings, what_if.values
    too_long = estimate.trained is not None and question.n_ctx > estimate.trained
    layers = "none: no GPU" if not estimate.gpus else f"{estimate.fit.gpu_layers} of {estimate.layers}"
    if estimate.gpus and settings.num_gpu < 0:
        layers += ", auto"
    needs_flash = settings.type_v not in FLOATS and settings.flash_attn == "off"
    rows = [
        ("context", f"{question.n_ctx:,}", "num_ctx", keys[0], too_long),
        ("K cache", settings.type_k, "type_k", keys[1], False),
        ("V cache", settings.type_v, "type_v", keys[2], needs_flash),
        ("GPU layers", layers, "num_gpu", keys[3], False),
        ("flash attention", settings.flash_attn, "flash_attn", keys[4], needs_flash),
        ("batch", f"{settings.num_batch:,}", "num_batch", keys[5], False),
    ]
    lines = []
    for label, value, name, key, wrong in rows:
        style = "rows--warning" if wrong else "rows--figure" if name in changed else ""
        mark = "• " if name in changed else "  "
        lines.append(_setting(label, mark + value, style, key, width))
    trained = f" of {estimate.trained:,}" if estimate.trained else ""
    largest = f"{estimate.largest:,}" if estimate.largest else "none"
    lines.append(_setting("longest that fits", "  " + largest + trained, "", keys[6], width))
    if estimate.gpus:
        lines.append(_setting("most GPU layers", f"  {estimate.most} of {estimate.layers}", "", "", width))
    if too_long:
        lines += paragraph("The context is longer than the model was trained for.", width, 0, "rows--warning")
    if needs_flash:
        lines += paragraph("A quantized V cache needs flash attention.", width, 0, "rows--warning")
    return lines


def _setting(label: str, value: str, style: str, key: str, width: int) -> Content:
    room = max(4, min(width, 60) - _LABEL - len(key) - 1)
    text = cut(value, room)
    return styled((label.ljust(_LABEL), "rows--dim"), (text.ljust(room), style), (f" {key}", "rows--accent"))


def short_fit(estimate: FitEstimate, width: int) -> Content:
    """The same in one row; what stays free only where there is room for it."""
    words, style = fit_summary(estimate)
    fit = estimate.fit
    parts = (fit.weights_bytes, "weights"), (fit.kv_bytes, "KV"), (fit.compute_bytes, "compute")
    needs = f"{fmt.size(fit.total_bytes)} = " + " + ".join(f"{fmt.size(size)} {name}" for size, name in parts)
    if estimate.short_of or estimate.closing:
        head = cut(words, width)
        return styled((head, style), (cut(f"  {needs}", width - len(head)), ""))
    spare = f" · {fmt.size(estimate.spare_bytes)} to spare"
    head = "✓ fits  "
    rest = needs + spare if len(head + needs + spare) <= width else needs
    return styled((head, style), (cut(rest, width - len(head)), ""))


def short_settings(estimate: FitEstimate, what_if: WhatIf, width: int) -> Content:
    """What it is priced with, in one row."""
    question, changed = estimate.question, what_if.values
    flash = "" if question.flash_attention else " · flash attention off"
    layers = f" · GPU {estimate.fit.gpu_layers} of {estimate.layers}" if estimate.gpus else ""
    types = f"K {question.type_k} · V {question.type_v}"
    text = f"context {question.n_ctx:,}, longest that fits {estimate.largest:,} · {types}"
    return styled((cut(f"{text}{layers}{flash}", width), "rows--figure" if changed else "rows--dim"))


def record_lines(record: LoadRecord | None, width: int) -> list[Content]:
    """What the last load came to."""
    if record is None:
        return [styled((cut("It was not loaded here yet.", width), "rows--dim"))]
    taken = fmt.size(record.memory.total_bytes)
    if record.error is not None:
        taken += f", estimate {fmt.change(record.error)}"
    settings = record.settings
    second = f"context {settings.num_ctx:,} · K {settings.type_k} · V {settings.type_v}"
    lines = [styled(("last load: ", "rows--dim"), (cut(taken, width - 11), ""))]
    lines += [styled((cut(f"  {second}", width), "rows--dim"))]
    if record.decode_tps is not None:
        speed = f"  {fmt.rate(record.decode_tps)} tokens/s"
        lines.append(styled((speed, "rows--figure"), (cut(f" on {record.backend}", width - len(speed)), "rows--dim")))
    return lines


@dataclass(frozen=True, slots=True)
class QuantFit:
    """One quantization among those of its model."""

    model: ModelEntry
    estimate: FitEstimate | None
    """None where its file cannot be priced, or was not read yet."""
    waiting: bool = False


def family_lines(members: Sequence[QuantFit], width: int) -> list[Content]:
    """Which quantizations of a model fit, row by row."""
    lines = [styled((f"{'quant':<12}{'bits':>6}{'needs':>9}  longest", "rows--dim"))]
    for each in members:
        model, estimate = each.model, each.estimate
        bits = f"{model.bits_per_weight:.2f}" if model.bits_per_weight is not None else fmt.DASH
        head = (cut(model.quant or fmt.DASH, 11).ljust(12), "rows--accent"), (bits.rjust(6), "")
        if estimate is None:
            text = "…" if each.waiting else "! cannot be read" if model.problem else fmt.DASH
            lines.append(styled(*head, (f"  {text}", "rows--dim" if each.waiting else "rows--error")))
            continue
        fits = estimate.fit.fits
        words = f"  ✓ {estimate.largest:,}" if fits else f"  ✗ {estimate.largest:,}" if estimate.largest else "  ✗ none"
        needs = fmt.size(estimate.fit.total_bytes).rjust(9)
        lines.append(styled(*head, (needs, "rows--figure"), (words, "rows--good" if fits else "rows--error")))
    return [cut_line(line, width) for line in lines]
