from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.stub import GIB, why_not
from workbench.telemetry.amd import AmdSource, held_by_pci_id, read_number
from workbench.telemetry.source import SourceError

CARD = {
    "vendor": "0x1002", "uevent": "DRIVER=amdgpu\nPCI_ID=1002:744C\nPCI_SLOT_NAME=0000:03:00.0\n",
    "product_name": "Radeon RX 7900 XTX", "unique_id": "abc123",
    "mem_info_vram_total": 24 * GIB, "mem_info_vram_used": 5 * GIB, "mem_info_gtt_total": 32 * GIB,
    "mem_info_gtt_used": GIB // 8, "gpu_busy_percent": 97, "mem_busy_percent": 61,
    "hwmon/hwmon3/power1_average": 310_000_000, "hwmon/hwmon3/power1_cap": 355_000_000,
    "hwmon/hwmon3/temp1_input": 61_500, "hwmon/hwmon3/freq1_input": 2_431_000_000,
    "hwmon/hwmon3/freq2_input": 1_249_000_000,
}  # fmt: skip
APU = {
    "vendor": "0x1002", "uevent": "PCI_ID=1002:15BF\nPCI_SLOT_NAME=0000:c5:00.0\n",
    "mem_info_vram_total": GIB // 2, "mem_info_vram_used": GIB // 4, "mem_info_gtt_total": 15 * GIB,
    "mem_info_gtt_used": GIB, "gpu_busy_percent": 3, "hwmon/hwmon1/power1_input": 9_000_000,
}  # fmt: skip


@pytest.fixture
def add(tmp_path):
    """Puts a card into a tree of sysfs."""

    def put(number, files):
        device = tmp_path / "class/drm" / f"card{number}" / "device"
        for name, value in files.items():
            path = device / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if value is not None:
                path.write_text(f"{value}\n")
        return device

    return put


@pytest.fixture
def source(tmp_path):
    return AmdSource(tmp_path, tmp_path / "fdinfo")


def test_a_card(add, source):
    add(0, CARD)
    (sample,) = source.read()
    gpu = sample.gpu
    assert (gpu.name, gpu.pci_id, gpu.uuid, gpu.key, gpu.unified) == (
        "Radeon RX 7900 XTX", "0000:03:00.0", "abc123", "0000:03:00.0", False
    )  # fmt: skip
    assert (sample.memory_total, sample.memory_used, sample.memory_free) == (24 * GIB, 5 * GIB, 19 * GIB)
    assert (sample.spill_total, sample.spill_used) == (32 * GIB, GIB // 8)
    assert (sample.gpu_percent, sample.memory_percent) == (97, 61)
    assert (sample.power_w, sample.power_limit_w, sample.temperature_c) == (310, 355, 61.5)
    assert (sample.clock_mhz, sample.memory_clock_mhz) == (2431, 1249)
    assert why_not(sample, "energy_mj") == "not supported"
    assert why_not(sample, "memory_own") == "not identified"


def test_an_apu_shows_both_pools_as_one(add, source):
    add(0, APU)
    (sample,) = source.read()
    assert sample.gpu.unified
    assert sample.gpu.name == "AMD GPU 15bf"
    assert (sample.memory_total, sample.memory_used) == (GIB // 2 + 15 * GIB, GIB // 4 + GIB)
    assert (sample.spill_total, why_not(sample, "spill_total")) == (None, "not supported")
    assert sample.power_w == 9


def test_a_small_carve_out_with_a_power_limit_is_an_apu(add, source):
    add(0, APU | {"hwmon/hwmon1/power1_cap": 15_000_000})
    assert source.read()[0].gpu.unified


def test_an_old_card_without_load_of_its_memory_is_no_apu(add, source):
    add(0, {name: value for name, value in CARD.items() if name != "mem_busy_percent"})
    (sample,) = source.read()
    assert not sample.gpu.unified
    assert why_not(sample, "memory_percent") == "not supported"


def test_a_card_without_meters(add, source):
    add(0, {name: value for name, value in CARD.items() if not name.startswith("hwmon")})
    (sample,) = source.read()
    assert (sample.power_w, sample.temperature_c, sample.clock_mhz) == (None, None, None)
    assert why_not(sample, "power_w") == "not supported"
    assert sample.memory_used == 5 * GIB


def test_only_cards_of_amd_in_the_order_of_their_numbers(add, source):
    add(10, CARD | {"uevent": "PCI_SLOT_NAME=0000:0a:00.0"})
    add(2, CARD | {"uevent": "PCI_SLOT_NAME=0000:02:00.0"})
    add(1, CARD | {"vendor": "0x10de"})
    add(3, CARD | {"vendor": ""})
    add("1-DP-1", CARD)
    add("x", CARD)
    assert [(sample.gpu.index, sample.gpu.pci_id) for sample in source.read()] == [
        (0, "0000:02:00.0"), (1, "0000:0a:00.0")
    ]  # fmt: skip


@pytest.mark.parametrize("files", [{}, {1: {"vendor": "0x8086"}}])
def test_no_card_of_amd(add, source, files):
    for number, content in files.items():
        add(number, content)
    with pytest.raises(SourceError) as caught:
        source.read()
    assert caught.value.absent


@pytest.mark.parametrize(("value", "reason"), [
    ("", "failed"), ("N/A", "failed"), ("-1", "failed"), ("12 34", "failed"), ("1e9", "failed"),
    ("9" * 30, "implausible"),
    ("9" * 9000, "implausible"), (str(2**64 - 1), "implausible"),
])  # fmt: skip
def test_a_file_that_holds_no_figure(add, source, value, reason):
    add(0, CARD | {"mem_info_vram_used": value, "hwmon/hwmon3/temp1_input": value})
    (sample,) = source.read()
    assert (sample.memory_used, sample.temperature_c) == (None, None)
    assert (why_not(sample, "memory_used"), why_not(sample, "temperature_c")) == (reason, reason)
    assert why_not(sample, "memory_free") == reason
    assert sample.memory_total == 24 * GIB


@pytest.mark.parametrize(("file", "field", "value"), [
    ("gpu_busy_percent", "gpu_percent", "255"), ("gpu_busy_percent", "gpu_percent", "65535"),
    ("mem_busy_percent", "memory_percent", "4294967295"), ("hwmon/hwmon3/temp1_input", "temperature_c", "65535000"),
    ("hwmon/hwmon3/freq1_input", "clock_mhz", "4294967295000000"), ("mem_info_gtt_used", "spill_used", "4294967295"),
    ("hwmon/hwmon3/power1_cap", "power_limit_w", "4294967295"),
])  # fmt: skip
def test_a_number_that_stands_for_an_unknown_figure(add, source, file, field, value):
    add(0, CARD | {file: value})
    (sample,) = source.read()
    assert (getattr(sample, field), why_not(sample, field)) == (None, "implausible")


def test_a_folder_in_the_place_of_a_file(add, source):
    device = add(0, CARD | {"mem_info_vram_used": None})
    (device / "mem_info_vram_used").mkdir()
    assert why_not(source.read()[0], "memory_used") == "failed"


def test_a_file_that_may_not_be_read(add, source, monkeypatch):
    add(0, CARD)
    open_file = Path.open

    def guarded(path, *arguments, **options):
        if path.name == "mem_info_vram_used":
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    assert why_not(source.read()[0], "memory_used") == "not permitted"


def test_more_used_than_there_is(add, source):
    add(0, CARD | {"mem_info_vram_used": 25 * GIB})
    (sample,) = source.read()
    assert (sample.memory_used, sample.memory_free) == (None, None)
    assert why_not(sample, "memory_used") == "implausible"


def test_a_full_card_that_is_busy(add, source):
    add(0, CARD | {"mem_info_vram_used": 24 * GIB, "gpu_busy_percent": 120, "mem_busy_percent": 120})
    (sample,) = source.read()
    assert (sample.memory_used, sample.memory_free) == (24 * GIB, 0)
    assert (sample.gpu_percent, sample.memory_percent) == (100, 100)


def test_a_total_of_nothing(add, source):
    add(0, CARD | {"mem_info_vram_total": 0})
    (sample,) = source.read()
    assert (sample.memory_total, why_not(sample, "memory_total")) == (None, "implausible")
    assert sample.memory_free is None


def test_a_card_is_removed(add, source, tmp_path):
    add(0, CARD)
    source.read()
    (tmp_path / "class/drm/card0").rename(tmp_path / "gone")
    with pytest.raises(SourceError):
        source.read()


@given(st.binary(max_size=64))
def test_no_content_breaks_the_reading(tmp_path, content):
    path = tmp_path / "figure"
    path.write_bytes(content)
    value, reason = read_number(path)
    assert (value is None) != (reason is None)
    assert value is None or (value >= 0 and int(content) == value)


FDINFO = """\
pos:	0
drm-driver:	amdgpu
drm-client-id:	{client}
drm-pdev:	0000:03:00.0
drm-memory-vram:	{size}
"""


def test_what_this_process_holds():
    texts = [
        FDINFO.format(client=1, size="2048 KiB"),
        FDINFO.format(client=1, size="2048 KiB"),
        FDINFO.format(client=2, size="1 MiB"),
        FDINFO.format(client=3, size="lots").replace("03:00", "04:00"),
        "pos:\t0\nflags:\t02",
    ]
    assert held_by_pci_id(texts) == {"0000:03:00.0": 3 * 2**20}


def test_the_newer_key_of_the_kernel_counts_first():
    assert held_by_pci_id([FDINFO.format(client=1, size="1 KiB") + "drm-total-vram:\t9 KiB\n"]) == {
        "0000:03:00.0": 9 * 1024
    }


def test_the_own_share_is_found_by_the_address(add, tmp_path):
    add(0, CARD)
    (tmp_path / "fdinfo").mkdir()
    (tmp_path / "fd").mkdir()
    for number, target in ((3, "/dev/dri/renderD128"), (4, "/dev/null")):
        (tmp_path / "fdinfo" / str(number)).write_text(FDINFO.format(client=number, size="1 GiB"))
        (tmp_path / "fd" / str(number)).symlink_to(target)
    (tmp_path / "fdinfo" / "5").write_text("closed in the meantime")
    assert AmdSource(tmp_path, tmp_path / "fdinfo").read()[0].memory_own == GIB


@given(st.lists(st.text(max_size=200)))
def test_no_description_breaks_the_reading(texts):
    assert all(size >= 0 for size in held_by_pci_id(texts).values())
