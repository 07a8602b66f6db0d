"""The machine dialog: active alarms with their remedies, and all meters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.getters import query_one

from workbench.core.models import MemoryUse
from workbench.core.telemetry import THROTTLE_WARNINGS, THROTTLE_WORDS, Alarm, ComputeDevice, GpuSample, SourceState
from workbench.core.units import size_pair
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import GAUGE_STYLES, bar, level, sparkline
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, paragraph, styled
from workbench.ui.machine.lines import SOFTWARE, age_text, amounts, gpu_number, memory_bar, model_share, state_text
from workbench.ui.widgets.lines import Lines
from workbench.ui.workspace.machine_watch import SOURCES, GpuView, MachineView, MachineWatch

LABEL_COLUMNS = 16
_MARKS = {"info": ("·", "gauge--label"), "warning": ("▲", "gauge--warn"), "error": ("▲", "gauge--critical")}
_STATES = {"working": "works", "absent": "not on this machine", "down": "does not answer"}


class MachinePage(Lines):
    """The alarms and the meters."""

    COMPONENT_CLASSES: ClassVar[set[str]] = GAUGE_STYLES


class MachineDialog(Dialog[None]):
    """Shows the active alarms and all meters as they change; `memory` gives what the open model occupies."""

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = "#machine-scroll"

    page = query_one(MachinePage)

    def __init__(self, machine: MachineWatch, memory: Callable[[], MemoryUse | None]) -> None:
        super().__init__()
        self._machine = machine
        self._memory = memory

    def compose(self) -> ComposeResult:
        box = dialog_box("machine-box", "Alarms and meters", "↑ ↓ scroll · Esc closes")
        with box, VerticalScroll(id="machine-scroll"):
            yield MachinePage()

    def on_resize(self) -> None:
        self.call_after_refresh(self.on_machine_changed)

    def on_machine_changed(self) -> None:
        if self.is_attached and (width := self.page.size.width):
            self.page.set_lines(page_lines(self._machine.view, self._memory(), width))


def page_lines(machine: MachineView, memory: MemoryUse | None, width: int) -> list[Content]:
    """The sections of the page, a blank line between them; `memory` is what the open model occupies."""
    sections = [_alarms(machine, width), *(_gpu(gpu, machine, memory, width) for gpu in machine.gpus)]
    sections.append(_host(machine, width))
    sections += [_devices(machine.devices, width)] if machine.devices else []
    sections += [_sources(machine.sources, width)] if machine.sources else []
    return [line for section in sections for line in (Content(""), *section)][1:]


def _heading(text: str, width: int) -> Content:
    return styled((cut(text, width), "gauge--heading"))


def _row(label: str, value: str) -> Content:
    return styled((f"  {label:<{LABEL_COLUMNS}}", "gauge--label"), (value, "gauge--value"))


def _share(percent: float) -> Content:
    return styled((f"{fmt.percent(percent):>8}", "gauge--value"))


def _alarms(machine: MachineView, width: int) -> list[Content]:
    lines = [_heading("ALARMS", width)]
    for alarm in machine.alarms:
        lines += _alarm(alarm, width)
    if age := age_text(machine):
        text = f"The readings are {age}: a driver does not answer, or a measurement is running."
        lines += _alarm(Alarm("meters", "warning", text), width)
    if len(lines) == 1:
        lines += paragraph("None. `workbench doctor` checks more than the meters show.", width, 2, "gauge--label")
    return lines


def _alarm(alarm: Alarm, width: int) -> list[Content]:
    mark, style = _MARKS[alarm.severity]
    first, *rest = paragraph(clean_line(alarm.text), width - 4, 0, "gauge--value")
    lines = [styled((f"  {mark} ", style)) + first, *(Content("    ") + line for line in rest)]
    return lines + (paragraph(clean_line(alarm.hint), width, 4, "gauge--label") if alarm.hint else [])


def _gpu(gpu: GpuView, machine: MachineView, memory: MemoryUse | None, width: int) -> list[Content]:
    sample, info = gpu.sample, gpu.sample.gpu
    facts = [info.name or f"GPU {info.index}"]
    if info.capability is not None:
        facts.append("compute capability {}.{}".format(*info.capability))
    facts += [info.pci_id] if info.pci_id else []
    facts += [SOFTWARE] if info.software else []
    number = gpu_number(info) if info.source == "ggml" else f"GPU {info.index}"
    lines = [_heading(f"{number}  " + "  ·  ".join(map(clean_line, facts)), width)]
    room = max(10, width - LABEL_COLUMNS - 4 - 8)
    if gpu.fill is not None:
        lines.append(_row("memory", "") + memory_bar(gpu, room) + _share(100 * gpu.fill))
        lines.append(_row("  last minute", "") + sparkline(gpu.filled, room))
    used = amounts(sample.memory_used, sample.memory_total)
    shared = ", shared with the system" if info.unified else ""
    lines.append(_row("  total" if sample.memory_used is None else "  used", f"{used}{shared}"))
    held = model_share(memory, sample, machine)
    for label, size in (("free", sample.memory_free), ("this program", sample.memory_own), ("this model", held)):
        if size is not None:
            lines.append(_row(f"  {label}", fmt.size(size)))
    if sample.spill_used is not None:
        lines.append(_row("  in system RAM", amounts(sample.spill_used, sample.spill_total)))
    if sample.gpu_percent is not None:
        lines.append(_row("busy", "") + sparkline(gpu.busy, room) + _share(sample.gpu_percent))
    if sample.memory_percent is not None:
        lines.append(_row("memory busy", fmt.percent(sample.memory_percent)))
    if text := state_text(sample):
        lines.append(_row("state", text))
    if sample.memory_clock_mhz is not None:
        lines.append(_row("memory clock", f"{sample.memory_clock_mhz:,} MHz"))
    return lines + _throttle(sample, width) + _absent(sample, width)


def _throttle(sample: GpuSample, width: int) -> list[Content]:
    reasons = sample.throttle or ()
    if not reasons:
        return []
    wrong = any(reason in THROTTLE_WARNINGS for reason in reasons)
    words = ", ".join(THROTTLE_WORDS[reason] for reason in reasons)
    lines = paragraph(words, width - LABEL_COLUMNS - 2, 0, "gauge--warn" if wrong else "gauge--value")
    return _beside("clock", lines)


def _absent(sample: GpuSample, width: int) -> list[Content]:
    """The fields that its driver does not report, and why."""
    by_reason: dict[str, list[str]] = {}
    for field, reason in sample.absent:
        by_reason.setdefault(reason, []).append(field.removesuffix("_mj").removesuffix("_c").replace("_", " "))
    text = "; ".join(f"{', '.join(fields)} ({reason})" for reason, fields in by_reason.items())
    return _beside("not reported", paragraph(text, width - LABEL_COLUMNS - 2, 0, "gauge--label")) if text else []


def _beside(label: str, lines: Sequence[Content]) -> list[Content]:
    return [_row("" if index else label, "") + line for index, line in enumerate(lines)]


def _host(machine: MachineView, width: int) -> list[Content]:
    host = machine.host
    lines = [_heading("THIS MACHINE", width)]
    if host is None:
        return [*lines, styled(("  No readings yet.", "gauge--label"))]
    used = 1 - host.free_bytes / host.total_bytes if host.total_bytes else None
    room = max(10, width - LABEL_COLUMNS - 4 - 8)
    lines.append(_row("memory", "") + bar(used, room, level(used)))
    lines.append(_row("  free", size_pair(host.free_bytes, host.total_bytes)))
    lines.append(_row("  this process", fmt.size(host.rss_bytes)))
    if host.swap_total_bytes:
        lines.append(_row("swap", size_pair(host.swap_used_bytes, host.swap_total_bytes)))
    lines.append(_row("processors", fmt.percent(host.cpu_percent)))
    return lines


def _devices(devices: Sequence[ComputeDevice], width: int) -> list[Content]:
    lines = [_heading("DEVICES OF LLAMA.CPP", width)]
    for device in devices:
        text = "  ".join(filter(None, (device.description, device.backend, device.pci_id or "")))
        lines.append(_row(cut(device.name, LABEL_COLUMNS - 1), cut(text, width - LABEL_COLUMNS - 2)))
    return lines


def _sources(sources: Sequence[SourceState], width: int) -> list[Content]:
    lines = [_heading("DRIVERS", width)]
    for state in sources:
        text = _STATES[state.status] + (f": {clean_line(state.reason)}" if state.reason else "")
        lines += _beside(SOURCES[state.source], paragraph(text, width - LABEL_COLUMNS - 2, 0, "gauge--value"))
    return lines
