"""The live figures as styled lines: what the panel and the status strip show, computed without any widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from textual.content import Content, Span

from workbench.core.events import PromptProgress
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import EngineInfo, ModelEntry, estimate_error
from workbench.ui import format as fmt
from workbench.ui.machine import MachineView
from workbench.ui.sanitize import clean_line

GRAPH_ROWS = 2
SHORT_NAME = 22
"""Columns for the model on a narrow screen."""
PANEL_ROWS = 32
"""Rows of the panel with everything in it."""
WARN_AT = 0.80
CRITICAL_AT = 0.95
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DIGITS = {
    "0": ("┏━┓", "┃ ┃", "┗━┛"),
    "1": (" ╻ ", " ┃ ", " ╹ "),
    "2": ("╺━┓", "┏━┛", "┗━╸"),
    "3": ("╺━┓", " ━┫", "╺━┛"),
    "4": ("╻ ╻", "┗━┫", "  ╹"),
    "5": ("┏━╸", "┗━┓", "╺━┛"),
    "6": ("┏━╸", "┣━┓", "┗━┛"),
    "7": ("╺━┓", "  ┃", "  ╹"),
    "8": ("┏━┓", "┣━┫", "┗━┛"),
    "9": ("┏━┓", "┗━┫", "╺━┛"),
    ".": (" ", " ", "•"),
    ",": (" ", " ", "╹"),
    fmt.DASH: ("   ", "╺━╸", "   "),
}


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that the panel shows."""

    info: EngineInfo | None = None
    loading: str = ""
    """The model that is being loaded; empty where none is."""
    metrics: AnswerMetrics | None = None
    """The figures of the answer that streams, or of the last one."""
    live_tps: float | None = None
    """Decode speed over the last second; None where nothing streams."""
    history: tuple[float, ...] = ()
    """Decode speeds in the order of time."""
    progress: PromptProgress | None = None
    context_used: int | None = None
    machine: MachineView = field(default_factory=MachineView)
    needs_reload: bool = False
    streaming: bool = False

    @property
    def decode_tps(self) -> float | None:
        """The speed to show: live while an answer streams, that of the whole answer after it."""
        if self.streaming:
            return self.live_tps
        return self.metrics.decode_tps if self.metrics else None

    @property
    def prompt_tokens(self) -> tuple[int | None, int | None]:
        """Cached and all tokens of the prompt."""
        if self.metrics is None:
            return None, None
        return self.metrics.cached_tokens, self.metrics.prompt_tokens


def styled(*parts: tuple[str, str]) -> Content:
    """Texts with their component classes, one after the other."""
    spans: list[Span] = []
    length = 0
    for text, style in parts:
        if style and text:
            spans.append(Span(length, length + len(text), style))
        length += len(text)
    return Content("".join(text for text, _ in parts), spans)


def bar(fraction: float | None, width: int, style: str = "gauge--bar") -> Content:
    """A thin bar, exact to half a cell."""
    if fraction is None:
        return styled(("─" * width, "gauge--track"))
    halves = round(max(0.0, min(1.0, fraction)) * width * 2)
    full, half = divmod(halves, 2)
    text = "━" * full + ("╸" if half else "")
    return styled((text, style), ("─" * (width - len(text)), "gauge--track"))


def level(fraction: float | None) -> str:
    """The component class of a bar that is this full."""
    if fraction is None or fraction < WARN_AT:
        return "gauge--bar"
    return "gauge--critical" if fraction >= CRITICAL_AT else "gauge--warn"


def graph(values: Sequence[float], width: int, rows: int = GRAPH_ROWS) -> list[Content]:
    """The newest `width` values as columns, scaled to the highest of them."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    steps = rows * 8
    heights = [max(1, round(value / top * steps)) if top > 0 else 1 for value in shown]
    lines: list[Content] = []
    for row in reversed(range(rows)):
        text = "".join(_BLOCKS[max(0, min(8, height - row * 8))] for height in heights)
        ground = " " if row else "▁"
        lines.append(styled((ground * (width - len(text)), "gauge--track"), (text, "gauge--graph")))
    return lines


def digits(text: str) -> list[str]:
    """`text` in letters of three rows."""
    glyphs = [_DIGITS.get(character, ("   ",) * 3) for character in text]
    return ["".join(glyph[row] for glyph in glyphs) for row in range(3)]


def _row(label: str, value: str, width: int, note: str = "") -> Content:
    room = max(1, width - len(label) - len(value) - len(note))
    return styled((label, "gauge--label"), (" " * room, ""), (value, "gauge--value"), (note, "gauge--label"))


def _heading(title: str, width: int, right: str = "", style: str = "gauge--label") -> Content:
    gap = max(1, width - len(title) - len(right))
    return styled((title, "gauge--heading"), (" " * gap, ""), (right, style))


def _model_lines(readings: Readings, width: int) -> list[Content]:
    info = readings.info
    if info is None:
        name = f"loading {clean_line(readings.loading)}" if readings.loading else "no model"
        return [styled((name[:width], "gauge--model")), Content("")]
    model = info.model
    facts = [clean_line(part) for part in (model.quant or "", info.backend) if part]
    if model.bits_per_weight is not None:
        facts.insert(1 if model.quant else 0, f"{model.bits_per_weight:.2f} bpw")
    if info.gpu_layers:
        facts.append(f"{info.gpu_layers} of {fmt.count(info.layers)} layers on the GPU")
    second = "  ".join(facts)[:width]
    return [styled((clean_line(model.name)[:width], "gauge--model")), styled((second, "gauge--label"))]


def _speed_lines(readings: Readings, width: int) -> list[Content]:
    metrics = readings.metrics
    source = metrics.source if metrics is not None and readings.decode_tps is not None else ""
    big = digits(fmt.rate(readings.decode_tps))
    lines = [_heading("DECODE", width, source)]
    for row, text in enumerate(big):
        unit = " tokens/s" if row == 2 else ""
        lines.append(styled((text, "gauge--figure"), (unit, "gauge--label")))
    return lines + graph(readings.history, width)


def _latency_lines(readings: Readings, width: int) -> list[Content]:
    metrics = readings.metrics or AnswerMetrics()
    cached, total = readings.prompt_tokens
    mark = "≈" if metrics.estimated else ""
    prompt = fmt.DASH if total is None else f"{mark}{fmt.count(total)}"
    # While the prompt is read, an answer of no tokens is not a figure yet.
    tokens = None if readings.streaming and not metrics.completion_tokens else metrics.completion_tokens
    p50, p95 = fmt.milliseconds(metrics.itl_p50_ms), fmt.milliseconds(metrics.itl_p95_ms)
    return [
        _row("First token", fmt.milliseconds(metrics.ttft_ms), width),
        _row("Prefill", fmt.rate(metrics.prefill_tps), width, " tok/s"),
        _row("Prompt", prompt, width, " tokens"),
        _row("  cached", f"{fmt.count(cached)} of {prompt}" if cached is not None else fmt.DASH, width),
        _row("Answer", f"{mark}{fmt.count(tokens)}" if tokens is not None else fmt.DASH, width, " tokens"),
        _row("Gap p50", p50, width),
        _row("Gap p95", p95, width),
    ]


def _context_lines(readings: Readings, width: int) -> list[Content]:
    size = readings.info.settings.num_ctx if readings.info else None
    used = readings.context_used
    share = used / size if used is not None and size else None
    amount = fmt.DASH if size is None else f"{fmt.count(used)} / {fmt.count(size)}"
    return [_heading("CONTEXT", width, amount, "gauge--value"), bar(share, width, level(share))]


def _memory_lines(readings: Readings, width: int) -> list[Content]:
    memory = readings.info.memory if readings.info else None
    host = readings.machine.host
    lines = [
        _heading("MEMORY", width, clean_line(memory.device) if memory else ""),
        _row("Model", fmt.size(memory.total_bytes if memory else None), width, _estimate_note(readings.info)),
        _row("  weights", fmt.size(memory.weights_bytes if memory else None), width),
        _row("  KV cache", fmt.size(memory.kv_bytes if memory else None), width),
        _row("  compute", fmt.size(memory.compute_bytes if memory else None), width),
        _row("This process", fmt.size(host.rss_bytes if host else None), width),
    ]
    free = fmt.size(host.free_bytes if host else None)
    lines.append(_row("Free", free, width, f" of {fmt.size(host.total_bytes)}" if host else ""))
    used = 1 - host.free_bytes / host.total_bytes if host and host.total_bytes else None
    return [*lines, bar(used, width, level(used))]


def _estimate_note(info: EngineInfo | None) -> str:
    """By how much the estimate made before loading was off; empty where that is not known."""
    error = estimate_error(info.estimate, info.memory) if info else None
    return f"  est {fmt.change(error)}" if error is not None else ""


def panel_lines(readings: Readings, width: int, height: int = PANEL_ROWS) -> list[Content]:
    """The panel beside the conversation; where it is too high, details and empty rows are left out."""
    reload = [styled(("● settings need a reload", "gauge--warn"))] if readings.needs_reload else [Content("")]
    sections = [
        [*_model_lines(readings, width), *reload, *_speed_lines(readings, width)],
        _latency_lines(readings, width),
        _context_lines(readings, width),
        _memory_lines(readings, width),
    ]
    if height < PANEL_ROWS:
        sections = [[line for line in section if not line.plain.startswith("  ")] for section in sections]
    gap = [Content("")] if height >= PANEL_ROWS - 4 else []
    lines: list[Content] = []
    for index, section in enumerate(sections):
        lines += (gap if index else []) + section
    return lines


def _joined(parts: Sequence[tuple[tuple[str, str], ...]], width: int) -> Content:
    """Groups of styled texts with a bar between them, as many as there is room for."""
    shown: list[tuple[str, str]] = []
    length = 0
    for part in parts:
        size = sum(len(text) for text, _ in part)
        gap = 3 if shown else 0
        if length + gap + size > width:
            break
        if gap:
            shown.append((" │ ", "gauge--track"))
        shown += part
        length += gap + size
    return styled(*shown)


def short_label(model: ModelEntry, room: int = SHORT_NAME) -> str:
    """Name and quantization in few columns; it is the quantization that people compare."""
    name, quant = clean_line(model.name), clean_line(model.quant or "")
    room -= len(quant) + 1 if quant else 0
    return f"{name if len(name) <= room else name[: max(0, room - 1)] + '…'} {quant}".rstrip()


def strip_lines(readings: Readings, width: int) -> list[Content]:
    """The same in two rows, for a narrow screen."""
    info, metrics, host = readings.info, readings.metrics or AnswerMetrics(), readings.machine.host
    label, value = "gauge--label", "gauge--value"
    cached, total = readings.prompt_tokens
    name = short_label(info.model) if info else clean_line(readings.loading or "no model")
    size = info.settings.num_ctx if info else None
    share = readings.context_used / size if readings.context_used is not None and size else None
    context = level(share) if share is not None and share >= WARN_AT else value
    memory = info.memory.total_bytes if info and info.memory else None
    first = [
        ((fmt.rate(readings.decode_tps), "gauge--figure"), (" tok/s", label)),
        (("TTFT ", label), (fmt.milliseconds(metrics.ttft_ms), value)),
        (("prefill ", label), (f"{fmt.rate(metrics.prefill_tps)}", value), (" tok/s", label)),
        (("cached ", label), (f"{fmt.count(cached)}/{fmt.count(total)}", value)),
    ]
    reload = (("●", "gauge--warn"),) if readings.needs_reload else ()
    second = [
        (*reload, (name[:SHORT_NAME], "gauge--model")),
        (("ctx ", label), (f"{fmt.count(readings.context_used)}/{fmt.count(size)}", context)),
        (("mem ", label), (fmt.size(memory), value)),
        (("rss ", label), (fmt.size(host.rss_bytes if host else None), value)),
        (("free ", label), (fmt.size(host.free_bytes if host else None), value)),
    ]
    return [_joined(first, width), _joined(second, width)]
