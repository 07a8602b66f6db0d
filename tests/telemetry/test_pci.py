from __future__ import annotations

from workbench.telemetry.pci import PciCard, find_pci_cards, pci_device


def test_the_cards_on_the_bus(tmp_path):
    def put(name, driver=None, **files):
        slot = pci_device(name, tmp_path)
        slot.mkdir(parents=True)
        for file, text in files.items():
            (slot / file).write_text(f"{text}\n")
        if driver:
            (tmp_path / driver).mkdir()
            (slot / "driver").symlink_to(tmp_path / driver)

    assert find_pci_cards(tmp_path) == []
    put("0000:01:00.0", "nouveau", **{"class": "0x030000", "vendor": "0x10de"})
    put("0000:02:00.0", **{"class": "0x030200", "vendor": "0x1002"})
    put("0000:01:00.1", **{"class": "0x040300", "vendor": "0x10de"})
    put("0000:03:00.0", **{"class": "junk", "vendor": "0x10de"})
    put("0000:04:00.0")
    put("other", **{"class": "0x030000", "vendor": "0x10de"})
    assert find_pci_cards(tmp_path) == [
        PciCard("0000:01:00.0", 0x10DE, "nouveau"), PciCard("0000:02:00.0", 0x1002, None)
    ]  # fmt: skip
