"""The statistics: a panel on a wide screen, a strip of two rows on a narrow one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from typing import ClassVar

from textual.content import Content
from textual.geometry import Size

from workbench.core.metrics import AnswerMetrics
from workbench.core.models import estimate_error
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import (
    GAUGE_STYLES,
    WARN_AT,
    Ranked,
    bar,
    digits,
    figure_row,
    graph,
    heading_row,
    joined,
    level,
)
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import SHORT_NAME, cut, paragraph, short_label, styled
from workbench.ui.machine.lines import age_text, alarms_text, gpu_lines, gpu_parts, host_lines, host_parts
from workbench.ui.widgets.lines import Lines
from workbench.ui.workspace.machine_watch import MachineView
from workbench.ui.workspace.readings import StatsReadings

NO_FIGURES = MachineView()
LEAST_COLUMN = 30
"""Cells from which half of the panel is wide enough for a column."""
BETWEEN = 3
"""Cells between the two columns."""
GAP = 5
"""The rank of the empty rows between the sections."""
EMPTY = 8
"""The rank of a row that is empty most of the time."""


def _model_lines(readings: StatsReadings, width: int) -> list[Content]:
    info = readings.info
    if info is None:
        name = f"loading {clean_line(readings.loading)}" if readings.loading else "no model"
        return [styled((name[:width], "gauge--model")), Content("")]
    model = info.model
    backend = clean_line(info.where)
    facts = [clean_line(model.quant)] if model.quant else []
    if model.bits_per_weight is not None:
        facts.append(f"{model.bits_per_weight:.2f} bpw")
    rows = [facts]
    if info.gpu_layers:
        count = info.backend.count(",") + 1
        where = backend if count == 1 else f"{count} devices"
        rows.append([f"{info.gpu_layers} of {fmt.count(info.layers and info.layers + 1)} layers on {where}"])
    else:
        facts.append(backend)
    return [
        styled((clean_line(model.name)[:width], "gauge--model")),
        *(styled((cut("  ".join(row), width), "gauge--label")) for row in rows),
    ]


def _speed_lines(readings: StatsReadings, width: int) -> list[Content]:
    metrics = readings.metrics
    source = metrics.source if metrics is not None and readings.decode_tps is not None else ""
    lines = [heading_row("DECODE", width, source)]
    for row, text in enumerate(digits(fmt.rate(readings.decode_tps))):
        unit = " tokens/s" if row == 2 else ""
        lines.append(styled((text, "gauge--figure"), (unit, "gauge--label")))
    lines += graph(readings.history, width)
    if (threads := readings.threads) is not None and threads.count < threads.most:
        text = f"{threads.count} of {threads.most} threads: the machine is busy"
        lines += paragraph(text, width, 0, "gauge--warn")
    return lines


def _latency_lines(readings: StatsReadings, width: int) -> list[Ranked]:
    metrics = readings.metrics or AnswerMetrics()
    cached, total = readings.prompt_tokens
    mark = "≈" if metrics.estimated else ""
    prompt = fmt.DASH if total is None else f"{mark}{fmt.count(total)}"
    # During prefill, an answer of 0 tokens is not a figure yet.
    tokens = None if readings.streaming and not metrics.completion_tokens else metrics.completion_tokens
    reused = fmt.DASH if cached is None else f"{fmt.count(cached)} of {prompt}"
    written = fmt.DASH if tokens is None else f"{mark}{fmt.count(tokens)}"
    seen_by = "" if metrics.latency_source == "engine" else f" {metrics.latency_source}"
    prefill_by = "" if metrics.source == "engine" or metrics.prefill_tps is None else f", {metrics.source}"

    def latency(rank: int, name: str, figure_ms: float | None) -> Ranked:
        source = "" if figure_ms is None else seen_by
        return Ranked(rank, figure_row(name, fmt.milliseconds(figure_ms), width, source))

    return [
        latency(1, "First token", metrics.ttft_ms),
        Ranked(1, figure_row("Prefill", fmt.rate(metrics.prefill_tps), width, f" tok/s{prefill_by}")),
        Ranked(1, figure_row("Prompt", prompt, width, " tokens")),
        Ranked(7, figure_row("  cached", reused, width)),
        *_reuse_lines(metrics, width),
        *_answer_lines(metrics, written, width),
        *([Ranked(1, figure_row("  format", metrics.format_state, width))] if metrics.format_state else []),
        *_draft_lines(metrics, width),
        latency(6, "Gap p50", metrics.itl_p50_ms),
        latency(6, "Gap p95", metrics.itl_p95_ms),
    ]


def _draft_lines(metrics: AnswerMetrics, width: int) -> list[Ranked]:
    """What speculation gained: how many drafted tokens were right, by their place, and how long a step was."""
    found = metrics.speculation
    if found is None or found.acceptance is None or found.mean_length is None:
        return []
    last = len(found.by_position)
    places = [place for place in sorted({1, 2, 4, last}) if place <= last]
    shares = " ".join(f"{100 * found.by_position[place - 1]:.0f}" for place in places)
    return [
        Ranked(2, figure_row("Drafts right", f"{found.acceptance:.0%}", width, f" of {found.draft_n:,}")),
        Ranked(6, figure_row("  a step", f"{found.mean_length:.1f}", width, " tokens")),
        Ranked(7, figure_row(f"  up to {' '.join(map(str, places))}", shares, width, " %")),
    ]


def _answer_lines(metrics: AnswerMetrics, written: str, width: int) -> list[Ranked]:
    """What was written; thoughts and answer apart, each with its time and its speed."""
    if not metrics.reasoning_tokens:
        unit = " token" if metrics.completion_tokens == 1 else " tokens"
        return [Ranked(1, figure_row("Answer", written, width, unit))]
    parts = (
        ("Thoughts", metrics.reasoning_tokens, metrics.reasoning_ms, metrics.reasoning_tps),
        ("Answer", metrics.answer_tokens, metrics.answer_ms, metrics.answer_tps),
    )
    mark = "" if metrics.source == "engine" else "≈"
    rows: list[Ranked] = []
    for name, tokens, time_ms, speed in parts:
        rows.append(Ranked(1, figure_row(name, f"{mark}{fmt.count(tokens)}", width, " tokens")))
        if time_ms:
            rows.append(Ranked(2, figure_row(f"  {fmt.milliseconds(time_ms)}", fmt.rate(speed), width, " tok/s")))
    return rows


def _reuse_lines(metrics: AnswerMetrics, width: int) -> list[Ranked]:
    """Where the cached tokens are from, where that is not the context; why most of the prompt is computed again."""
    reuse = metrics.reuse
    if reuse is None:
        return []
    lines = []
    if reuse.source in {"checkpoint", "saved state"}:
        lines.append(figure_row("  from", reuse.source, width))
    if reuse.lost:
        lines += paragraph(f"computed again: {reuse.lost}", width, 2, "gauge--label")
    if reuse.change is not None and 2 * (metrics.cached_tokens or 0) < (metrics.prompt_tokens or 0):
        lines += paragraph(clean_line(str(reuse.change)), width, 2, "gauge--label")
    return [Ranked(7, line) for line in lines]


def _context_lines(readings: StatsReadings, width: int) -> list[Content]:
    used, size, share = readings.context
    amount = fmt.DASH if size is None and used is None else f"{fmt.count(used)} / {fmt.count(size)}"
    return [heading_row("CONTEXT", width, amount, "gauge--value"), bar(share, width, level(share))]


def _memory_lines(readings: StatsReadings, width: int) -> list[Ranked]:
    memory = readings.info.memory if readings.info else None
    total = fmt.size(memory.total_bytes if memory else None)
    # How far the estimate before loading was off.
    error = estimate_error(readings.info.estimate, memory) if readings.info else None
    kept = readings.metrics.reuse.kept_bytes if readings.metrics and readings.metrics.reuse else 0
    return [
        Ranked(1, heading_row("MEMORY", width, clean_line(memory.device) if memory else "")),
        Ranked(1, figure_row("Model", total, width, f"  est {fmt.change(error)}" if error is not None else "")),
        Ranked(7, figure_row("  weights", fmt.size(memory.weights_bytes if memory else None), width)),
        Ranked(7, figure_row("  KV cache", fmt.size(memory.kv_bytes if memory else None), width)),
        Ranked(7, figure_row("  compute", fmt.size(memory.compute_bytes if memory else None), width)),
        *([Ranked(7, figure_row("Kept states", fmt.size(kept), width))] if kept else []),
        *host_lines(readings.machine.host, width),
    ]


def _state_line(readings: StatsReadings) -> Ranked:
    """The row of warnings, which is empty most of the time."""
    parts = []
    alarms, age = alarms_text(readings.machine), age_text(readings.machine)
    if readings.needs_reload:
        parts.append(("● reload  " if alarms else "● settings need a reload", "gauge--warn"))
    if alarms:
        parts += [(f"{alarms} ", "gauge--warn"), (readings.meters_key, "gauge--value")]
    if age and not readings.needs_reload:
        parts.append((f"  {age}" if alarms else f"▲ figures are {age}", "gauge--warn"))
    return Ranked(1 if parts else EMPTY, styled(*parts))


_Sections = list[list[Ranked]]


@lru_cache(maxsize=1)
def _unmetered(readings: StatsReadings, width: int) -> tuple[list[Ranked], list[Ranked], _Sections]:
    """The lines on the model, on its speed, and below: a sample of the meters changes none of them."""
    return (
        _always(_model_lines(readings, width)),
        _always(_speed_lines(readings, width)),
        [_latency_lines(readings, width), _always(_context_lines(readings, width))],
    )


def panel_lines(readings: StatsReadings, width: int, height: int) -> list[Content]:
    """The lines of the panel for a size in cells; where they are too many, the least important are left out.

    A wide panel has two columns: the model with its speed, and the memory.
    """
    memory = readings.info.memory if readings.info else None
    half = (width - BETWEEN) // 2
    column = half if half >= LEAST_COLUMN else width
    model, speed, (latency, context) = _unmetered(replace(readings, machine=NO_FIGURES), column)
    left = [[*model, _state_line(readings), *speed], latency]
    right = [
        context,
        [line for gpu in readings.machine.gpus for line in gpu_lines(gpu, readings.machine, memory, column)],
        _memory_lines(readings, column),
    ]
    if column == width:
        return _fitting(left + right, height)
    gap = Content(" " * BETWEEN)
    rows = zip_longest(_fitting(left, height), _fitting(right, height), fillvalue=Content(""))
    return [one.pad_right(max(0, column - one.cell_length)) + gap + other for one, other in rows]


def _fitting(sections: _Sections, height: int) -> list[Content]:
    lines: list[Ranked] = []
    for section in filter(None, sections):
        lines += [Ranked(GAP, Content(""))] if lines else []
        lines += section
    while len(lines) > height and (lowest := max(line.rank for line in lines)) > 1:
        lines = [line for line in lines if line.rank < lowest]
    return [line.content for line in lines]


def _always(lines: Sequence[Content]) -> list[Ranked]:
    return [Ranked(1, line) for line in lines]


def _thoughts_parts(metrics: AnswerMetrics) -> list[tuple[tuple[str, str], ...]]:
    if not metrics.reasoning_tokens:
        return []
    label, value = "gauge--label", "gauge--value"
    time = "" if metrics.reasoning_ms is None else f" in {fmt.milliseconds(metrics.reasoning_ms)}"
    return [
        (("thoughts ", label), (f"{fmt.count(metrics.reasoning_tokens)}{time}", value)),
        (("answer ", label), (fmt.count(metrics.answer_tokens), value)),
    ]


def strip_lines(readings: StatsReadings, width: int) -> list[Content]:
    """The two rows of the strip, with as many figures as there is room for."""
    info, metrics, machine = readings.info, readings.metrics or AnswerMetrics(), readings.machine
    label, value = "gauge--label", "gauge--value"
    cached, total = readings.prompt_tokens
    name = short_label(info.model) if info else clean_line(readings.loading or "no model")
    used, size, share = readings.context
    context = level(share) if share is not None and share >= WARN_AT else value
    memory = info.memory.total_bytes if info and info.memory else None
    first = [
        ((fmt.rate(readings.decode_tps), "gauge--figure"), (" tok/s", label)),
        (("TTFT ", label), (fmt.milliseconds(metrics.ttft_ms), value)),
        *_thoughts_parts(metrics),
        (("prefill ", label), (f"{fmt.rate(metrics.prefill_tps)}", value), (" tok/s", label)),
        (("cached ", label), (f"{fmt.count(cached)}/{fmt.count(total)}", value)),
    ]
    marks = "●" if readings.needs_reload else ""
    marks += "▲ " if machine.alarms or machine.age_s else ""
    second = [
        ((marks, "gauge--warn"), (name[:SHORT_NAME], "gauge--model")),
        (("ctx ", label), (f"{fmt.count(used)}/{fmt.count(size)}", context)),
        *(gpu_parts(machine) or ((("mem ", label), (fmt.size(memory), value)), *host_parts(machine.host))),
    ]
    return [joined(first, width), joined(second, width)]


class StatsView(Lines):
    """Shows readings; rows that look the same are not drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = GAUGE_STYLES

    def __init__(self, widget_id: str, lay_out: Callable[[StatsReadings, Size], list[Content]]) -> None:
        super().__init__(widget_id=widget_id)
        self._readings = StatsReadings()
        self._lay_out = lay_out

    def show(self, readings: StatsReadings) -> None:
        self._readings = readings
        if self.size.width:
            self.set_lines(self._lay_out(readings, self.size))

    def on_resize(self) -> None:
        self.show(self._readings)
