"""The graphics cards on the PCI bus, from the sysfs of Linux: reading it wakes no card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.core.telemetry import normal_pci_id

SYS = Path("/sys")
NVIDIA_VENDOR: Final = 0x10DE
AMD_VENDOR: Final = 0x1002
_DISPLAY_CLASS = 0x03
_ASLEEP = frozenset({"suspended", "suspending"})


@dataclass(frozen=True, slots=True)
class PciCard:
    """A graphics card, with or without a driver."""

    pci_id: str
    vendor: int
    driver: str | None
    """Its kernel driver; None where it has none."""


def pci_device(pci_id: str, sys: Path = SYS) -> Path:
    """The folder of a PCI device in sysfs."""
    return sys / "bus" / "pci" / "devices" / pci_id


def find_pci_cards(sys: Path = SYS) -> list[PciCard]:
    """The graphics cards on the PCI bus."""
    try:
        slots = sorted(pci_device("", sys).iterdir())
    except OSError:
        return []
    found = []
    for slot in slots:
        pci_id = normal_pci_id(slot.name)
        try:
            kind, vendor = (int(_read(slot / name), 16) for name in ("class", "vendor"))
        except ValueError:
            continue
        if pci_id is not None and kind >> 16 == _DISPLAY_CLASS:
            driver = slot / "driver"
            found.append(PciCard(pci_id, vendor, driver.resolve().name if driver.exists() else None))
    return found


def is_asleep(device: Path) -> bool:
    """Whether the kernel has suspended the PCI device of this folder in sysfs."""
    return _read(device / "power" / "runtime_status") in _ASLEEP


def cards_asleep(vendor: int, sys: Path = SYS) -> dict[str, bool]:
    """The PCI addresses of a vendor's graphics cards, each with whether it is suspended."""
    cards = (card for card in find_pci_cards(sys) if card.vendor == vendor)
    return {card.pci_id: is_asleep(pci_device(card.pci_id, sys)) for card in cards}


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
