from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ui.drive import app_on, press_keys, settle, shown
from tests.ui.fakes import GIB, HOST, FakeAlarms, FakeClock, FakeTelemetry, card
from workbench.core.logbook import LogBook
from workbench.core.models import EngineInfo, MemoryUse, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.telemetry import THROTTLE_WORDS, ComputeDevice, GpuInfo, GpuSample, Situation
from workbench.engine.scripted import ScriptedHost
from workbench.ui.chat.stats_panel import panel_lines, strip_lines
from workbench.ui.machine.dialog import page_lines
from workbench.ui.machine.lines import amounts, gpu_parts, machine_line, model_share
from workbench.ui.workspace.machine_watch import GpuView, MachineView, MachineWatch
from workbench.ui.workspace.readings import StatsReadings

WIDTH = 31


def view(*gpus: GpuSample, devices: tuple[ComputeDevice, ...] = ()) -> MachineView:
    watch = MachineWatch(FakeTelemetry(*gpus), FakeAlarms, LogBook(), lambda: 0)
    watch.look()
    return replace(watch.view, devices=devices)


def panel(machine: MachineView, height: int = 60) -> list[str]:
    return [line.plain for line in panel_lines(StatsReadings(machine=machine), WIDTH, height)]


def test_a_gpu_has_a_block_with_everything() -> None:
    text = "\n".join(panel(view(card(throttle=("power cap",)))))
    for words in ("RTX 4090", "12.0/24.0 GiB", "64 °C  312/450 W  2,520 MHz", "power-limited", "97 %", "61 %", "50 %"):
        assert words in text
    assert "NVIDIA" not in text
    assert "11.0 GiB" in text


def test_without_a_gpu_there_is_no_empty_block() -> None:
    text = "\n".join(panel(view()))
    assert "vram" not in text
    assert "busy" not in text
    assert "Processors" in text
    assert "Swap" in text


def test_what_a_gpu_does_not_report_is_left_out_and_never_zero() -> None:
    bare = GpuSample(GpuInfo("GPU-1", "nvml", 1, "Quadro 600"))
    lines = panel(view(bare))
    block = lines[lines.index(next(line for line in lines if "Quadro" in line)) :][:3]
    assert not any("0 %" in line or "0.0" in line for line in block)
    assert "busy" not in "\n".join(lines)


def test_a_gpu_that_is_slowed_down_is_marked() -> None:
    for reason in THROTTLE_WORDS:
        text = "\n".join(panel(view(card(throttle=(reason,)))))
        assert ("▲" in text) == (reason in {"hardware slowdown", "software thermal", "hardware thermal", "power brake"})


@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("height", [34, 40])
def test_the_panel_has_room_for_every_gpu(count: int, height: int) -> None:
    lines = panel(view(*(card(index) for index in range(count))), height)
    assert len(lines) <= height
    assert sum("RTX 4090" in line for line in lines) == count
    assert all(len(line) <= WIDTH for line in lines)


FIGURE = st.one_of(st.none(), st.integers(0, 2**64))
PERCENT = st.one_of(st.none(), st.floats(0, 100))


@given(
    total=FIGURE, used=FIGURE, free=FIGURE, own=FIGURE, busy=PERCENT, memory=PERCENT, hot=PERCENT,
    name=st.one_of(st.none(), st.text(max_size=60)),
    throttle=st.one_of(st.none(), st.lists(st.sampled_from(sorted(THROTTLE_WORDS)), unique=True).map(tuple)),
    count=st.integers(0, 9), height=st.integers(5, 60), unified=st.booleans(),
)  # fmt: skip
def test_any_reading_of_a_driver_fits(
    total, used, free, own, busy, memory, hot, name, throttle, count, height, unified
) -> None:  # type: ignore[no-untyped-def]
    gpus = tuple(
        GpuSample(
            GpuInfo(str(index), "nvml", index, name, unified=unified),
            memory_total=total, memory_used=used, memory_free=free, memory_own=own, gpu_percent=busy,
            memory_percent=memory, temperature_c=hot, power_w=hot, throttle=throttle,
        )
        for index in range(count)
    )  # fmt: skip
    machine = view(*gpus)
    lines = panel_lines(StatsReadings(machine=machine), WIDTH, height)
    strip = strip_lines(StatsReadings(machine=machine), 78)
    assert len(strip) == 2
    assert all(line.cell_length <= WIDTH for line in lines)
    assert all(line.cell_length <= 78 for line in [*strip, machine_line(machine, 78)])
    assert not any(ord(char) < 32 for line in [*lines, *strip] for char in line.plain)


def test_amounts_share_a_unit() -> None:
    assert amounts(300_000_000, 24 * GIB) == "0.3/24.0 GiB"
    assert amounts(0, 24 * GIB) == "0.0/24.0 GiB"
    assert amounts(120 * GIB, 141 * GIB) == "120.0/141.0 GiB"
    assert amounts(None, 24 * GIB) == "24.0 GiB"
    assert amounts(3 * GIB, None) == "3.0 GiB"
    assert amounts(None, None) == "—"


def test_the_model_s_share_of_each_gpu_is_found_by_pci_address() -> None:
    memory = MemoryUse(9 * GIB, GIB, GIB, "CUDA1", (("CPU", GIB), ("CUDA0", 3 * GIB), ("CUDA1", 7 * GIB)))
    one = view(card(0))
    assert model_share(memory, one.gpus[0].sample, one) == 10 * GIB
    two = view(card(0), card(1))
    assert model_share(memory, two.gpus[0].sample, two) is None
    # ggml counts the other way round.
    devices = (
        ComputeDevice("CPU"),
        ComputeDevice("CUDA0", "gpu", pci_id="0000:02:00.0"),
        ComputeDevice("CUDA1", "gpu", pci_id="0000:01:00.0"),
    )
    two = view(card(0), card(1), devices=devices)
    assert [model_share(memory, gpu.sample, two) for gpu in two.gpus] == [7 * GIB, 3 * GIB]
    assert model_share(MemoryUse(1, 2, 3), two.gpus[0].sample, two) is None
    assert model_share(MemoryUse(1, 2, 3, "CPU", (("CPU", 6),)), one.gpus[0].sample, one) == 0


def test_the_strip_adds_up_the_gpus() -> None:
    parts = ["".join(text for text, _ in part) for part in gpu_parts(view(card(0), card(1, gpu_percent=3.0)))]
    assert parts == ["2 GPUs 24.0/48.0 GiB", "busy 97 %", "64 °C"]
    assert gpu_parts(view()) == []


def test_the_parts_of_a_split_gpu_are_not_added_to_it() -> None:
    part = card(1)
    part = replace(part, gpu=replace(part.gpu, partition="part"))
    parts = ["".join(text for text, _ in part) for part in gpu_parts(view(card(0), part))]
    assert parts[0] == "vram 12.0/24.0 GiB"


def test_old_figures_are_marked() -> None:
    machine = replace(view(card()), age_s=7)
    assert any("7 s old" in line for line in panel(machine))
    assert "7 s old" in machine_line(machine, 100).plain


def test_a_line_is_cropped_to_its_width() -> None:
    machine = MachineView(HOST, (GpuView(card()),))
    assert machine_line(machine, 200).plain == (
        "vram 12.0/24.0 GiB │ busy 97 % │ 64 °C │ cpu 12 % │ free 4.9 GiB │ rss 392.9 MiB"
    )
    assert machine_line(machine, 30).plain == "vram 12.0/24.0 GiB │ busy 97 %"
    assert machine_line(MachineView(), 30).plain == ""


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_a_race_shows_the_meters(host: ScriptedHost, clock: FakeClock, size: tuple[int, int]) -> None:
    telemetry = FakeTelemetry(card())
    app = app_on(host, clock, telemetry=telemetry)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "12.0/24.0 GiB" in shown(app)
        await press_keys(pilot, "f3")
        assert "vram 12.0/24.0 GiB" in shown(app)


def test_a_sleeping_gpu_says_so_in_the_panel_and_in_the_strip() -> None:
    machine = view(GpuSample(GpuInfo("0000:01:00.0", "nvml", 0, pci_id="0000:01:00.0"), asleep=True))
    assert any("asleep" in line for line in panel(machine))
    assert any("asleep" in text for part in gpu_parts(machine) for text, _ in part)


def test_gpus_are_read_rarely_until_a_model_is_on_one() -> None:
    meters = FakeTelemetry(card())
    watch = MachineWatch(meters, FakeAlarms, LogBook(), lambda: 0)
    watch.start()
    assert not meters.gpus_in_use
    info = EngineInfo(ModelEntry("m", "M"), LoadSettings(), "CUDA0", 1.0, gpu_layers=3)
    for found, changing, used in (
        (None, False, False),
        (None, True, True),
        (info, False, True),
        (replace(info, gpu_layers=0), False, False),
        (replace(info, backend="CPU"), False, False),
    ):
        watch.look(Situation(found), changing=changing)
        assert meters.gpus_in_use is used


def software(**figures: object) -> GpuSample:
    info = GpuInfo("Vulkan0", "ggml", 1, "llvmpipe (LLVM 15.0.6, 256 bits)", unified=True, software=True)
    return GpuSample(info, memory_total=2 * GIB, memory_own=GIB // 4, **figures)  # type: ignore[arg-type]


def test_a_software_device_is_never_shown_as_a_gpu() -> None:
    machine = view(software())
    assert "software, no GPU" in "\n".join(panel(machine))
    assert "".join(text for text, _ in gpu_parts(machine)[0]) == "software device 2.0 GiB"
    page = "\n".join(line.plain for line in page_lines(machine, None, 70))
    assert "Vulkan0  llvmpipe (LLVM 15.0.6, 256 bits)  ·  software, no GPU" in page
    assert "total         2.0 GiB, shared with the system" in page


def test_a_device_of_llama_cpp_has_its_own_share_of_the_model() -> None:
    memory = MemoryUse(9 * GIB, GIB, GIB, "CUDA0", (("CPU", GIB), ("CUDA0", 3 * GIB), ("Vulkan0", 7 * GIB)))
    assert model_share(memory, software(), view(card(0), software())) == 7 * GIB
    assert "Vulkan0 llvmpipe" in "\n".join(panel(view(card(0), software())))


@pytest.mark.parametrize(("backend", "where"), [("Vulkan0", "Vulkan0"), ("Vulkan0, Vulkan1", "2 devices")])
def test_the_layers_on_gpus_are_counted_with_the_output(backend: str, where: str) -> None:
    info = EngineInfo(ModelEntry("m", "m", quant="Q4_K_M", bits_per_weight=4.8), LoadSettings(), backend, 1.0,
                      layers=30, gpu_layers=31)  # fmt: skip
    lines = [line.plain for line in panel_lines(StatsReadings(info=info), WIDTH, 60)]
    assert lines[1:3] == ["Q4_K_M  4.80 bpw", f"31 of 31 layers on {where}"]
