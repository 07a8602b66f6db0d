"""Readings of AMD GPUs on Linux, from the files of the amdgpu driver."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from workbench.core.telemetry import Absence, GpuInfo, GpuSample, SourceName, normal_pci_id
from workbench.core.units import GIB, KIB, MIB
from workbench.telemetry.host import colon_pairs
from workbench.telemetry.pci import AMD_VENDOR, is_asleep
from workbench.telemetry.resting import asleep
from workbench.telemetry.source import GpuSource, SourceError, is_known

_SMALL_CARVE_OUT = 4 * GIB
_CARD = re.compile(r"card[0-9]{1,6}")
_LONGEST = 4096
"""Characters of a figure at most; longer texts are not figures."""
_MOST_PLAUSIBLE = {
    "gpu_percent": 200,
    "memory_percent": 200,
    "temperature_c": 200_000,
    "power_w": 10**11,
    "power_limit_w": 10**11,
    "clock_mhz": 10**11,
    "memory_clock_mhz": 10**11,
}
"""Limits of figures in amdgpu's units, above which a figure counts as unknown."""


class AmdSource(GpuSource):
    """Reads AMD GPUs from sysfs, and this process's share of their memory from its fdinfo."""

    name: SourceName = "amdgpu"

    def __init__(self, sys: Path = Path("/sys"), fdinfo: Path = Path("/proc/self/fdinfo")) -> None:
        self._cards = sys / "class" / "drm"
        self._fdinfo = fdinfo

    @override
    def read(self) -> Sequence[GpuSample]:
        cards = find_cards(self._cards)
        if not cards:
            raise SourceError("There is no AMD GPU.", absent=True)
        own = held_by_pci_id(read_fdinfo(self._fdinfo))
        return [_read_card(card, index, own) for index, card in enumerate(cards)]


def find_cards(folder: Path) -> list[Path]:
    """The device folders of AMD cards, in the order of their numbers."""
    try:
        cards = [path for path in folder.iterdir() if _CARD.fullmatch(path.name)]
    except OSError:
        return []
    devices = (card / "device" for card in sorted(cards, key=lambda card: int(card.name[4:])))
    return [device for device in devices if _vendor(device) == AMD_VENDOR]


def _vendor(device: Path) -> int | None:
    try:
        return int((device / "vendor").read_text("ascii", "replace"), 16)
    except (OSError, ValueError):
        return None


class _Card:
    """Reads the files of one card, and records why a figure is absent."""

    def __init__(self, device: Path) -> None:
        self._device = device
        self.absent: dict[str, Absence] = {}
        try:
            meters = sorted((device / "hwmon").iterdir())
        except OSError:
            meters = []
        self._meters = meters[0] if meters else None

    def text(self, name: str) -> str | None:
        """A file that may be missing."""
        try:
            return (self._device / name).read_text("utf-8", "replace").strip() or None
        except OSError:
            return None

    def number(self, figure: str, *names: str) -> int | None:
        """The number in the first of these files that holds one; `hwmon/` stands for the folder of the sensors."""
        reason: Absence = "not supported"
        for name in names:
            path = self._path(name)
            if path is None:
                continue
            value, why = read_number(path)
            if value is not None and is_known(value, _MOST_PLAUSIBLE.get(figure)):
                return value
            if value is not None:
                why = "implausible"
            if why is not None and why != "not supported":
                reason = why
        self.absent[figure] = reason
        return None

    def scaled(self, figure: str, unit: float, *names: str) -> float | None:
        """As `number`, divided by `unit`."""
        value = self.number(figure, *names)
        return None if value is None else value / unit

    def has(self, name: str) -> bool:
        """Whether the card has such a file."""
        path = self._path(name)
        return path is not None and path.exists()

    def _path(self, name: str) -> Path | None:
        if not name.startswith("hwmon/"):
            return self._device / name
        return None if self._meters is None else self._meters / name.removeprefix("hwmon/")


def read_number(path: Path) -> tuple[int | None, Absence | None]:
    """The number in a sysfs file, or why there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST).strip()
    except (FileNotFoundError, NotADirectoryError):
        return None, "not supported"
    except PermissionError:
        return None, "not permitted"
    except OSError:  # A suspended or removed card.
        return None, "failed"
    if not text.isdigit():
        return None, "failed"
    value = int(text)
    return (value, None) if is_known(value) else (None, "implausible")


def _read_card(device: Path, index: int, own: Mapping[str, int]) -> GpuSample:
    card = _Card(device)
    if is_asleep(device):
        return asleep(_describe(card, device, index, unified=False))
    total = card.number("memory_total", "mem_info_vram_total")
    used = card.number("memory_used", "mem_info_vram_used")
    spill_total = card.number("spill_total", "mem_info_gtt_total")
    spill_used = card.number("spill_used", "mem_info_gtt_used")
    if not total and total is not None:
        card.absent["memory_total"] = "implausible"
        total = None
    unified = is_apu(card, total)
    if unified and total is not None and used is not None and spill_total is not None and spill_used is not None:
        # The firmware reserves a small part; the rest is taken from the same memory on demand.
        total, used = total + spill_total, used + spill_used
        spill_total = spill_used = None
        card.absent |= {"spill_total": "not supported", "spill_used": "not supported"}
    if total is not None and used is not None and used > total:
        card.absent["memory_used"] = "implausible"
        used = None
    free = None if total is None or used is None else total - used
    if free is None:
        card.absent["memory_free"] = card.absent.get("memory_used") or card.absent.get("memory_total", "failed")
    info = _describe(card, device, index, unified=unified)
    percent = card.number("gpu_percent", "gpu_busy_percent")
    memory_percent = card.number("memory_percent", "mem_busy_percent")
    clock = card.number("clock_mhz", "hwmon/freq1_input")
    memory_clock = card.number("memory_clock_mhz", "hwmon/freq2_input")
    held = own.get(info.pci_id or "")
    if held is None:
        card.absent["memory_own"] = "not identified"
    return GpuSample(
        gpu=info,
        memory_total=total,
        memory_used=used,
        memory_free=free,
        memory_own=held,
        spill_total=spill_total,
        spill_used=spill_used,
        gpu_percent=None if percent is None else min(100.0, percent),
        memory_percent=None if memory_percent is None else min(100.0, memory_percent),
        temperature_c=card.scaled("temperature_c", 1000, "hwmon/temp1_input"),
        power_w=card.scaled("power_w", 1e6, "hwmon/power1_average", "hwmon/power1_input"),
        power_limit_w=card.scaled("power_limit_w", 1e6, "hwmon/power1_cap"),
        clock_mhz=None if clock is None else round(clock / 1e6),
        memory_clock_mhz=None if memory_clock is None else round(memory_clock / 1e6),
        absent=(*card.absent.items(), ("throttle", "not supported"), ("energy_mj", "not supported")),
    )


def is_apu(card: _Card, vram_total: int | None) -> bool:
    """Whether a GPU uses system memory.

    For those, and few others, amdgpu reports no memory load. They have no power limit of their own, or less reserved
    memory than any discrete card.
    """
    if vram_total is None or card.has("mem_busy_percent"):
        return False
    return not card.has("hwmon/power1_cap") or vram_total <= _SMALL_CARVE_OUT


def _describe(card: _Card, device: Path, index: int, *, unified: bool) -> GpuInfo:
    facts = dict(line.split("=", 1) for line in (card.text("uevent") or "").splitlines() if "=" in line)
    pci_id = normal_pci_id(facts.get("PCI_SLOT_NAME", "")) or normal_pci_id(device.resolve().name)
    uuid = card.text("unique_id")
    chip = facts.get("PCI_ID", "").partition(":")[2].lower()
    name = card.text("product_name") or f"AMD GPU {chip}".strip()
    return GpuInfo(pci_id or uuid or f"amdgpu {index}", "amdgpu", index, name, uuid, pci_id, unified=unified)


def read_fdinfo(folder: Path) -> list[str]:
    """The kernel's description of each file that this process has open on a graphics device."""
    texts = []
    try:
        files = list(folder.iterdir())
    except OSError:
        return []
    for file in files:
        try:
            # Resolving the link is cheaper than reading the description.
            if str((folder.parent / "fd" / file.name).readlink()).startswith("/dev/dri/"):
                texts.append(file.read_text("utf-8", "replace"))
        except OSError:  # Closed in the meantime.
            continue
    return texts


_UNITS = {"": 1, "kib": KIB, "mib": MIB, "gib": GIB}


def held_by_pci_id(texts: Iterable[str]) -> dict[str, int]:
    """Bytes of graphics memory held by this process, by PCI address. A device that is opened twice counts once."""
    clients: dict[tuple[str, str], int] = {}
    for text in texts:
        facts = dict(colon_pairs(text))
        pci_id = normal_pci_id(facts.get("drm-pdev", ""))
        size = _size(facts.get("drm-total-vram") or facts.get("drm-memory-vram") or "")
        if pci_id is not None and size is not None:
            clients[pci_id, facts.get("drm-client-id", "")] = size
    held: Counter[str] = Counter()
    for (pci_id, _), size in clients.items():
        held[pci_id] += size
    return dict(held)


def _size(text: str) -> int | None:
    number, _, unit = text.partition(" ")
    factor = _UNITS.get(unit.strip().lower())
    if factor is None or not (number.isascii() and number.isdigit()) or len(number) > 18:
        return None
    return int(number) * factor
