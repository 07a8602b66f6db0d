"""The machine's meters as styled lines: a block for each GPU, the rows of the host, and a summary in one line."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.message import Message

from workbench.core.models import MemoryUse
from workbench.core.telemetry import THROTTLE_WARNINGS, GpuInfo, GpuSample, HostSample, Throttle
from workbench.core.units import size_pair
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import Ranked, bar, figure_row, heading_row, joined, level, sparkline
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, styled
from workbench.ui.workspace.machine_watch import GpuView, MachineView

ALARM_SECONDS = 8.0
"""How long a new alarm is shown over everything else."""
SHORT_THROTTLE: dict[Throttle, str] = {
    "application clocks": "at the clocks set for it",
    "power cap": "power-limited",
    "hardware slowdown": "slowed down by the hardware",
    "sync boost": "held to another GPU's clock",
    "software thermal": "too hot: slowed down",
    "hardware thermal": "too hot: slowed down",
    "power brake": "power brake: slowed down",
    "display clocks": "held to the display's clock",
}
"""Why a GPU is throttled, for the panel. An idle GPU is not throttled."""

SOFTWARE = "software, no GPU"
"""What is said of a device that is a program on the processor."""

_MAKERS = ("NVIDIA ", "GeForce ", "AMD ", "Advanced Micro Devices ")


def gpu_name(gpu: GpuInfo) -> str:
    """The name of a GPU without its maker."""
    name = clean_line(gpu.name or f"GPU {gpu.index}")
    for maker in _MAKERS:
        name = name.removeprefix(maker)
    return name


def gpu_number(gpu: GpuInfo) -> str:
    """What tells a GPU from the others: its driver's number, or llama.cpp's name of it."""
    return gpu.key if gpu.source == "ggml" else str(gpu.index)


def amounts(used: int | None, total: int | None) -> str:
    """`3.1/25.8 GiB`: both in the unit of the second."""
    if used is None or total is None:
        return fmt.size(used if total is None else total)
    return size_pair(used, total, "/")


def model_share(memory: MemoryUse | None, gpu: GpuSample, machine: MachineView) -> int | None:
    """Bytes of a GPU's memory that the open model holds, as llama.cpp reports them; None where that is unknown."""
    if memory is None or not memory.by_device:
        return None
    held = memory.on_gpus
    if gpu.gpu.source == "ggml":
        return held.get(gpu.gpu.key)
    cards = [each.sample.gpu for each in machine.gpus if each.sample.gpu.partition != "part"]
    if not held or len(cards) == 1:
        return sum(held.values())
    names = {device.name for device in machine.devices if device.pci_id and device.pci_id == gpu.gpu.pci_id}
    return sum(size for name, size in held.items() if name in names) if names else None


def throttle_words(sample: GpuSample) -> tuple[str, bool]:
    """Why a GPU is throttled, and whether that is a fault; empty where it is not throttled."""
    reasons = [reason for reason in sample.throttle or () if reason in SHORT_THROTTLE]
    wrong = [reason for reason in reasons if reason in THROTTLE_WARNINGS]
    words = list(dict.fromkeys(SHORT_THROTTLE[reason] for reason in wrong or reasons))
    return ", ".join(words), bool(wrong)


def memory_bar(gpu: GpuView, width: int) -> Content:
    """The used part of a GPU's memory: first that of this program, then that of the others."""
    sample, fill = gpu.sample, gpu.fill
    if fill is None or sample.memory_own is None or not sample.memory_total:
        return bar(fill, width, level(fill))
    used = round(fill * width)
    own = min(used, round(sample.memory_own / sample.memory_total * width))
    return styled(
        ("━" * own, level(fill)), ("━" * (used - own), "gauge--label"), ("─" * (width - used), "gauge--track")
    )


def state_text(sample: GpuSample) -> str:
    """Temperature, power and clock, or that it sleeps; what is unknown is left out."""
    parts = ["asleep"] if sample.asleep else []
    if sample.temperature_c is not None:
        parts.append(f"{sample.temperature_c:.0f} °C")
    if sample.power_w is not None:
        limit = f"/{sample.power_limit_w:.0f}" if sample.power_limit_w is not None else ""
        parts.append(f"{sample.power_w:.0f}{limit} W")
    if sample.clock_mhz is not None:
        parts.append(f"{sample.clock_mhz:,} MHz")
    return "  ".join(parts)


def gpu_lines(gpu: GpuView, machine: MachineView, memory: MemoryUse | None, width: int) -> list[Ranked]:
    """The block of one GPU. Its lines are ranked, because many GPUs leave less room for each."""
    sample = gpu.sample
    several = len(machine.gpus) > 1
    amount = amounts(sample.memory_used, sample.memory_total)
    name = gpu_name(sample.gpu)
    if several and sample.gpu.partition != "part":
        name = f"{gpu_number(sample.gpu)} {name}"
    lines = [Ranked(1, heading_row(cut(name, width - len(amount) - 1), width, amount, "gauge--value"))]
    if sample.gpu.software:
        lines.append(Ranked(1, styled((SOFTWARE[:width], "gauge--warn"))))
    if gpu.fill is not None:
        lines.append(Ranked(2, memory_bar(gpu, width)))
        lines.append(Ranked(6 if several else 3, _graph_line("vram", gpu.filled, fmt.percent(100 * gpu.fill), width)))
    if sample.gpu_percent is not None:
        lines.append(Ranked(2, _graph_line("busy", gpu.busy, fmt.percent(sample.gpu_percent), width)))
    if text := state_text(sample):
        lines.append(Ranked(3, styled((text[:width], "gauge--value"))))
    words, wrong = throttle_words(sample)
    if words:
        line = styled((f"{'▲ ' if wrong else ''}{words}"[:width], "gauge--warn" if wrong else "gauge--label"))
        lines.append(Ranked(1 if wrong else 3, line))
    return lines + _memory_rows(sample, model_share(memory, sample, machine), width, 6 if several else 3)


def _memory_rows(sample: GpuSample, held: int | None, width: int, rank: int) -> list[Ranked]:
    lines = []
    if sample.memory_percent is not None:
        lines.append(Ranked(6, figure_row("  memory busy", fmt.percent(sample.memory_percent), width)))
    if sample.memory_free is not None:
        lines.append(Ranked(rank, figure_row("  free", fmt.size(sample.memory_free), width)))
    if sample.gpu.unified:
        lines.append(Ranked(rank, styled(("  shares the system's memory", "gauge--label"))))
    if sample.memory_own is not None:
        lines.append(Ranked(rank, figure_row("  this program", fmt.size(sample.memory_own), width)))
    if held is not None:
        lines.append(Ranked(rank, figure_row("  this model", fmt.size(held), width)))
    return lines


def _graph_line(label: str, values: Sequence[float | None], note: str, width: int) -> Content:
    room = width - 5 - 6
    drawn = sparkline(values, room)
    return Content("").join([styled((f"{label:<5}", "gauge--label")), drawn, styled((f"{note:>6}", "gauge--value"))])


def host_lines(host: HostSample | None, width: int) -> list[Ranked]:
    """The rows of the machine itself."""
    free = fmt.size(host.free_bytes if host else None)
    of_all = f" of {fmt.size(host.total_bytes)}" if host else ""
    used = 1 - host.free_bytes / host.total_bytes if host and host.total_bytes else None
    lines = [
        Ranked(1, figure_row("This process", fmt.size(host.rss_bytes if host else None), width)),
        Ranked(1, figure_row("Free", free, width, of_all)),
        Ranked(1, bar(used, width, level(used))),
        Ranked(4, figure_row("Processors", fmt.percent(host.cpu_percent if host else None), width)),
    ]
    if host is not None and host.swap_used_bytes is not None and host.swap_total_bytes:
        total = f" of {fmt.size(host.swap_total_bytes)}"
        lines.append(Ranked(4, figure_row("Swap", fmt.size(host.swap_used_bytes), width, total)))
    return lines


Part = tuple[tuple[str, str], ...]
"""Styled texts that stay together."""


def gpu_parts(machine: MachineView) -> list[Part]:
    """The GPUs for a line: their memory added up, the load of the busiest, the temperature of the hottest."""
    label, value = "gauge--label", "gauge--value"
    cards = [gpu for gpu in machine.gpus if gpu.sample.gpu.partition != "part"]
    if not cards:
        return []
    fills = [gpu.fill for gpu in cards if gpu.fill is not None]
    used = _sum([gpu.sample.memory_used for gpu in cards])
    total = _sum([gpu.sample.memory_total for gpu in cards])
    fullest = max(fills, default=None)
    style = level(fullest) if fullest is not None and level(fullest) != "gauge--bar" else value
    title = "vram " if len(cards) == 1 else f"{len(cards)} GPUs "
    if any(gpu.sample.gpu.software for gpu in cards):
        title = "software device " if len(cards) == 1 else f"{len(cards)} devices "
    parts: list[Part] = [((title, label), (amounts(used, total), style))]
    busy = max((gpu.sample.gpu_percent for gpu in cards if gpu.sample.gpu_percent is not None), default=None)
    if busy is not None:
        parts.append((("busy ", label), (fmt.percent(busy), value)))
    hot = max((gpu.sample.temperature_c for gpu in cards if gpu.sample.temperature_c is not None), default=None)
    wrong = any(throttle_words(gpu.sample)[1] for gpu in cards)
    if all(gpu.sample.asleep for gpu in cards):
        return [((title, label), ("asleep", value))]
    if hot is not None:
        parts.append(((f"{'▲ ' if wrong else ''}{hot:.0f} °C", "gauge--warn" if wrong else value),))
    return parts


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def host_parts(host: HostSample | None) -> list[Part]:
    """The host's memory, for a line; free memory first, since what comes last is left out on a narrow screen."""
    label, value = "gauge--label", "gauge--value"
    return [
        (("free ", label), (fmt.size(host.free_bytes if host else None), value)),
        (("rss ", label), (fmt.size(host.rss_bytes if host else None), value)),
    ]


def machine_line(machine: MachineView, width: int) -> Content:
    """Everything in one line, cropped where there is no room."""
    host = machine.host
    parts = gpu_parts(machine)
    if host is not None:
        parts += [
            (("cpu ", "gauge--label"), (fmt.percent(host.cpu_percent), "gauge--value")),
            *host_parts(host),
        ]
    if alarms := alarms_text(machine):
        parts.insert(0, ((alarms, "gauge--warn"),))
    if age := age_text(machine):
        parts.insert(0, ((f"▲ {age}", "gauge--warn"),))
    return joined(parts, width)


def alarms_text(machine: MachineView) -> str:
    """The number of active alarms; empty where there is none."""
    count = len(machine.alarms)
    return f"▲ {fmt.counted(count, 'alarm')}" if count else ""


def age_text(machine: MachineView) -> str:
    """The age of the readings; empty where they are fresh."""
    return f"{machine.age_s} s old" if machine.age_s else ""


class MachineChanged(Message, bubble=False):
    """The machine's meters were read again; sent to the active screen."""
