"""The lines about memory in the panel and the strip: what a model would take, what fits, and the last load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from workbench.core.memory import BufferComparison
from workbench.core.models import LoadRecord, ModelEntry
from workbench.core.units import GIB, MIB
from workbench.gguf.shares import Share
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar, level
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import Column, Table
from workbench.ui.kit.text import cut, paragraph, styled
from workbench.ui.models.fit import FitEstimate, usable_bytes
from workbench.ui.models.what_if import WhatIf

_LABEL = 17
_COLOURS = {"gauge--bar": "rows--bar", "gauge--warn": "rows--warning", "gauge--critical": "rows--error"}


def fit_summary(estimate: FitEstimate) -> tuple[str, str]:
    """Whether the model fits, in words, and the style of the words."""
    if estimate.fit.refusal is not None:
        return f"✗ refused: {estimate.fit.refusal.message}", "rows--error"
    if short := estimate.short_of:
        missing = ", ".join(f"{fmt.size(count)} on {clean_line(name)}" for name, count in short)
        return f"✗ does not fit: {missing} missing", "rows--error"
    if estimate.closing:
        return f"✓ fits once {clean_line(estimate.closing)} is closed", "rows--warning"
    return f"✓ fits, {fmt.size(estimate.spare_bytes)} to spare", "rows--good"


def fit_lines(estimate: FitEstimate, what_if: WhatIf, keys: Sequence[str], width: int) -> list[Content]:
    """The memory of each device, the summary, and the settings that can be changed.

    `keys` are those beside the settings, and last the ones for the longest context and for the most on the GPUs.
    """
    words, style = fit_summary(estimate)
    size = estimate.model.adapter_bytes
    return [
        *_device_lines(estimate.fit.shares, width),
        *([_dim(f"Of the weights, {fmt.size(size)} are the adapter's.", width)] if size else []),
        *_correction_lines(estimate, width),
        *paragraph(words, width, 0, style),
        Content(""),
        *_setting_lines(estimate, what_if, keys, width),
    ]


def _correction_lines(estimate: FitEstimate, width: int) -> list[Content]:
    """What the estimate has from the last load of this architecture."""
    changes = [f"{purpose} {fmt.change(factor - 1)}" for purpose, factor in estimate.model.correction.items()]
    if not changes:
        return []
    text = f"Corrected by what the last {clean_line(estimate.model.architecture)} took: {', '.join(changes)}."
    return paragraph(text, width, 0, "rows--dim")


def _dim(text: str, width: int) -> Content:
    return styled((cut(text, width), "rows--dim"))


def _device_lines(shares: Sequence[Share], width: int) -> list[Content]:
    """A table in one unit, so that its columns can be added; below each device, how full it would be."""
    most = max((share.total_bytes for share in shares), default=0)
    unit, factor = ("GiB", GIB) if most >= 1000 * MIB else ("MiB", MIB)
    names = min(8, max((5, *(len(share.device.name) for share in shares))))
    table = Table[Share](
        [
            Column(unit, lambda share: share.device.name, names, style="rows--strong"),
            Column("weights", lambda share: f"{share.weights_bytes / factor:.1f}", 7, right=True),
            Column("KV", lambda share: f"{share.kv_bytes / factor:.1f}", 7, right=True),
            Column("compute", lambda share: f"{share.compute_bytes / factor:.1f}", 7, right=True),
            Column("total", lambda share: f"{share.total_bytes / factor:.1f}", 7, right=True, style="rows--figure"),
        ],
        gap=1,
    )
    lines = [table.header(width)]
    for share in shares:
        usable = max(0, usable_bytes(share.device))
        part = share.total_bytes / usable if usable else 1.0
        free = f" of {fmt.size(usable)} {'usable' if share.device.reserve_bytes else 'free'}"
        track = bar(min(1.0, part), max(4, min(width, 46) - 6 - len(free))).plain
        full = track.rstrip("─")
        lines += [
            table.row(share, width),
            styled(
                (" " * 6, ""), (full, _COLOURS[level(part)]), (track[len(full) :], "rows--track"), (free, "rows--dim")
            ),
        ]
    return lines


def _setting_lines(estimate: FitEstimate, what_if: WhatIf, keys: Sequence[str], width: int) -> list[Content]:
    question, settings, changed = estimate.question, what_if.settings, what_if.values
    trained = estimate.model.trained_context
    too_long = trained is not None and question.n_ctx > trained
    layers = "none: no GPU" if not estimate.gpus else f"{estimate.fit.gpu_layers} of {estimate.model.layers}"
    if estimate.gpus and settings.num_gpu < 0:
        layers += ", auto"
    refusal = estimate.fit.refusal
    capped = f", at most {settings.num_batch:,}" if settings.num_ubatch > settings.num_batch else ""
    rows = [
        ("context", f"{question.n_ctx:,}", "num_ctx", too_long),
        ("K cache", settings.type_k, "type_k", refusal is not None),
        ("V cache", settings.type_v, "type_v", refusal is not None),
        ("GPU layers", layers, "num_gpu", False),
        ("flash attention", settings.flash_attn, "flash_attn", refusal is not None),
        ("batch", f"{settings.num_batch:,}", "num_batch", False),
        ("full windows", _window_text(estimate), "swa_full", False),
        ("micro-batch", f"{settings.num_ubatch:,}{capped}", "num_ubatch", False),
        ("load mode", settings.reading, "load_mode", False),
        ("experts on CPU", _experts_text(estimate), "num_cpu_moe", False),
        ("KV cache on GPU", ("yes" if settings.offload_kqv else "no") * bool(estimate.gpus), "offload_kqv", False),
        ("GPUs", (", ".join(settings.devices) or "all") * (estimate.gpus > 1), "devices", False),
    ]
    lines = []
    for key, (label, value, name, wrong) in zip(keys, rows, strict=False):
        if not value:
            continue
        style = "rows--warning" if wrong else "rows--figure" if name in changed else ""
        lines.append(_setting(label, ("• " if name in changed else "  ") + value, style, key, width))
    longest = (f"{estimate.largest:,}" if estimate.largest else "none") + (f" of {trained:,}" if trained else "")
    lines.append(_setting("longest that fits", f"  {longest}", "", keys[-2], width))
    if estimate.gpus:
        most = f"  {estimate.most} of {estimate.model.layers}"
        lines.append(_setting("most GPU layers", most, "", keys[-1], width))
    if estimate.gpus and estimate.model.expert_layers:
        fewest = (
            "all, and more" if estimate.experts is None else f"{estimate.experts} of {estimate.model.expert_layers}"
        )
        lines.append(_setting("fewest experts", f"  {fewest}", "", "", width))
    if too_long:
        lines += paragraph("The context is longer than the model was trained for.", width, 0, "rows--warning")
    if refusal is not None:
        lines += paragraph(refusal.hint, width, 0, "rows--warning")
    return lines


def _experts_text(estimate: FitEstimate) -> str:
    """How many layers have their experts on the CPU; empty without experts or GPUs."""
    count = estimate.model.expert_layers
    if not count or not estimate.gpus:
        return ""
    kept = estimate.question.cpu_experts
    return f"{count if kept < 0 else min(kept, count)} of {count}"


def _window_text(estimate: FitEstimate) -> str:
    """Whether layers with a sliding window get the whole context, and what that takes; empty where there are none."""
    price = estimate.model.full_window_bytes(estimate.question)
    return f"{'yes' if estimate.question.full_window else 'no'}, +{fmt.size(price)}" if price else ""


def _setting(label: str, value: str, style: str, key: str, width: int) -> Content:
    room = max(4, min(width, 60) - _LABEL - len(key) - 1)
    text = cut(value, room)
    return styled((label.ljust(_LABEL), "rows--dim"), (text.ljust(room), style), (f" {key}", "rows--accent"))


def short_fit(estimate: FitEstimate, width: int) -> Content:
    """The estimate in one row; the spare memory only where there is room for it."""
    words, style = fit_summary(estimate)
    fit = estimate.fit
    parts = (fit.weights_bytes, "weights"), (fit.kv_bytes, "KV"), (fit.compute_bytes, "compute")
    needs = f"{fmt.size(fit.total_bytes)} = " + " + ".join(f"{fmt.size(size)} {name}" for size, name in parts)
    if not estimate.fit.fits or estimate.closing:
        head, needs = cut(words, width), f"  {needs}"
    else:
        head, spare = "✓ fits  ", f" · {fmt.size(estimate.spare_bytes)} to spare"
        needs += spare if len(head + needs + spare) <= width else ""
    return styled((head, style), (cut(needs, width - len(head)), ""))


def short_settings(estimate: FitEstimate, what_if: WhatIf, width: int) -> Content:
    """The settings of the estimate in one row."""
    question = estimate.question
    flash = "" if question.flash_attention else " · flash attention off"
    layers = f" · GPU {estimate.fit.gpu_layers} of {estimate.model.layers}" if estimate.gpus else ""
    context = f"context {question.n_ctx:,}, longest that fits {estimate.largest:,}"
    text = f"{context} · K {question.type_k} · V {question.type_v}{layers}{flash}"
    return styled((cut(text, width), "rows--figure" if what_if.values else "rows--dim"))


def _compared_line(each: BufferComparison, width: int) -> Content:
    error = fmt.DASH if each.error is None else fmt.change(each.error)
    name = f"  {clean_line(each.device)} {each.purpose}"
    return _dim(f"{name.ljust(_LABEL - 1)}{fmt.size(each.taken)}, est {error}", width)


def record_lines(record: LoadRecord | None, width: int) -> list[Content]:
    """The memory, settings and speed of the last load."""
    if record is None:
        return [_dim("It was not loaded here yet.", width)]
    taken = fmt.size(record.memory.total_bytes)
    if record.error is not None:
        taken += f", estimate {fmt.change(record.error)}"
    settings = record.settings
    lines = [
        styled(("last load: ", "rows--dim"), (cut(taken, width - 11), "")),
        *(_compared_line(each, width) for each in record.compared),
        _dim(f"  context {settings.num_ctx:,} · K {settings.type_k} · V {settings.type_v}", width),
    ]
    if record.decode_tps is not None:
        speed = f"  {fmt.rate(record.decode_tps)} tokens/s"
        lines.append(styled((speed, "rows--figure"), (cut(f" on {record.backend}", width - len(speed)), "rows--dim")))
    return lines


@dataclass(frozen=True, slots=True)
class QuantFit:
    """One quantization among those of its model."""

    model: ModelEntry
    estimate: FitEstimate | None
    """None where it cannot be estimated, or its file was not read yet."""
    waiting: bool = False
    """Whether its file was not read yet."""


def _longest(row: QuantFit) -> Content:
    """The longest context that fits; in place of an estimate, why there is none."""
    if (estimate := row.estimate) is None:
        text = "…" if row.waiting else "! cannot be read" if row.model.problem else fmt.DASH
        return styled((text, "rows--dim" if row.waiting else "rows--error"))
    longest = f"{estimate.largest:,}" if estimate.largest else "none"
    return styled((f"✓ {longest}", "rows--good") if estimate.fit.fits else (f"✗ {longest}", "rows--error"))


def _needs(row: QuantFit) -> str:
    return fmt.size(row.estimate.fit.total_bytes if row.estimate else None)


_FAMILY = Table[QuantFit](
    [
        Column("quant", lambda row: row.model.quant or fmt.DASH, 8, style="rows--accent"),
        Column("bits", lambda row: fmt.bits(row.model.bits_per_weight), 5, right=True),
        Column("needs", _needs, 9, right=True, style="rows--figure"),
        Column("longest", _longest, 12),
    ],
    gap=1,
)


def family_lines(members: Sequence[QuantFit], width: int) -> list[Content]:
    """Which quantizations of a model fit, row by row."""
    rows = [_FAMILY.row(each, width, None if each.estimate else (2, 4, _longest(each))) for each in members]
    return [_FAMILY.header(width), *rows]
