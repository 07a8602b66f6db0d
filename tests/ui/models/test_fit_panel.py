from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.gguf.conftest import write_model
from tests.lora import write_lora
from tests.ui.fakes import FakeFiles, FakeLoads, fake_services
from tests.ui.models.fits import HOST, WITH_GPUS, fitter_on
from workbench.core.memory import MemoryBuffer
from workbench.core.models import EngineInfo, LoadRecord, MemoryUse, ModelEntry
from workbench.core.parameters import KV_TYPES, LoadSettings
from workbench.core.recipe import Recipe
from workbench.engine.scripted import ScriptedHost
from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel
from workbench.gguf.reader import read_header
from workbench.gguf.shares import DeviceRoom, Room
from workbench.ui.kit import figures as fmt
from workbench.ui.models.fit import FitEstimate, FitEstimator, estimate_fit, room_without
from workbench.ui.models.fit_lines import (
    QuantFit,
    family_lines,
    fit_lines,
    fit_summary,
    record_lines,
    short_fit,
    short_settings,
)
from workbench.ui.models.what_if import LONGEST, WhatIf

KEYS = ["[ ]", "k", "v", "- +", "a", "b", "w", "x", "X"]


def priced(model: FitModel, room: Room = HOST, **settings: object) -> FitEstimate:
    estimate = estimate_fit(model, replace(LoadSettings(), **settings), room)  # type: ignore[arg-type]
    assert estimate is not None
    return estimate


def text(estimate: FitEstimate, width: int = 38, **values: object) -> str:
    what_if = WhatIf(LoadSettings(), values)  # type: ignore[arg-type]
    return "\n".join(line.plain.rstrip() for line in fit_lines(estimate, what_if, KEYS, width))


def test_what_fits_says_how_much_is_left(demo: FitModel) -> None:
    estimate = priced(demo)
    assert fit_summary(estimate)[0] == f"✓ fits, {fmt.size(estimate.spare_bytes)} to spare"
    shown = text(estimate)
    assert "8,192 of 8,192" in shown
    assert "none: no GPU" in shown
    assert estimate.spare_bytes == 5_300_000_000 - estimate.fit.total_bytes


def test_the_price_of_full_window_caches(tmp_path: Path, demo: FitModel) -> None:
    path = write_model(tmp_path / "w.gguf", architecture="gemma2", keys={".attention.sliding_window": 300})
    windowed = FitModel([read_header(path)])
    estimate = priced(windowed, num_ctx=8192)
    price = windowed.full_window_bytes(estimate.question)
    assert f"full windows       no, +{fmt.size(price)}" in text(estimate)
    full = priced(windowed, num_ctx=8192, swa_full=True)
    assert full.fit.kv_bytes == estimate.fit.kv_bytes + price
    assert f"full windows     • yes, +{fmt.size(price)}" in text(full, swa_full=True)
    assert "full windows" not in text(priced(demo))


def test_what_does_not_fit_says_what_is_missing_and_where(demo: FitModel) -> None:
    estimate = priced(demo, Room(DeviceRoom("CPU", 200_000_000)))
    missing = estimate.fit.total_bytes - 200_000_000
    assert estimate.short_of == [("CPU", missing)]
    words, style = fit_summary(estimate)
    assert words == f"✗ does not fit: {fmt.size(missing)} on CPU missing"
    assert style == "rows--error"
    assert 0 < estimate.largest < 8192


def test_what_has_to_stay_free_is_not_free(demo: FitModel) -> None:
    total = priced(demo).fit.total_bytes
    assert fit_summary(priced(demo, Room(DeviceRoom("CPU", total, 1))))[0] == "✗ does not fit: 1 B on CPU missing"


def test_smaller_caches_make_room(demo: FitModel) -> None:
    whole, halved = priced(demo), priced(demo, type_k="q8_0", type_v="q8_0")
    assert halved.fit.kv_bytes < 0.6 * whole.fit.kv_bytes
    assert halved.fit.weights_bytes == whole.fit.weights_bytes


async def test_the_adapter_of_a_modelfile_is_counted_and_shown(
    demo: FitModel, demo_entry: ModelEntry, demo_path: Path, tmp_path: Path
) -> None:
    adapter = write_lora(tmp_path / "lora.gguf", demo_path, tensors=60, rank=64)
    entry = replace(demo_entry, ref="Modelfile", recipe=Recipe(adapter=str(adapter)))
    estimator = fitter_on(FakeFiles())
    await estimator.read(entry)
    await estimator.look()
    estimate = estimator.estimate(entry)
    assert estimate is not None
    size = read_header(adapter).tensor_bytes
    assert estimate.model.adapter_bytes == size
    assert estimate.fit.weights_bytes == priced(demo).fit.weights_bytes + size
    assert f"Of the weights, {fmt.size(size)} are the" in text(estimate)
    assert "adapter" not in text(priced(demo))


def test_layers_are_shown_where_there_are_gpus(demo: FitModel) -> None:
    estimate = priced(demo, WITH_GPUS)
    assert estimate.gpus == 2
    assert estimate.fit.gpu_layers == estimate.most
    shown = text(estimate)
    assert f"{estimate.most} of {estimate.model.layers}, auto" in shown
    assert "most GPU layers" in shown
    fixed = priced(demo, WITH_GPUS, num_gpu=estimate.model.layers)
    assert not fixed.fit.fits
    assert {name for name, _ in fixed.short_of} <= {"CPU", "CUDA0", "CUDA1"}
    assert "CUDA0" in text(fixed, num_gpu=estimate.model.layers)


@given(
    st.sampled_from([HOST, WITH_GPUS, Room(DeviceRoom("CPU", 0)), Room(DeviceRoom("\x1b[31m", 1))]),
    st.integers(1, LONGEST),
    st.sampled_from(KV_TYPES),
    st.sampled_from(["auto", "on", "off"]),
    st.integers(-1, 40),
    st.integers(28, 120),
)
def test_every_question_has_an_answer_that_fits_in_the_panel(
    demo: FitModel, room: Room, num_ctx: int, kind: str, flash: str, layers: int, width: int
) -> None:
    values = {"num_ctx": num_ctx, "type_k": kind, "type_v": kind, "flash_attn": flash, "num_gpu": layers}
    what_if = WhatIf(LoadSettings(), values)
    estimate = estimate_fit(demo, what_if.settings, room)
    assert estimate is not None
    lines = [
        *fit_lines(estimate, what_if, KEYS, width),
        short_fit(estimate, width),
        short_settings(estimate, what_if, width),
    ]
    if width >= 38:
        assert all(line.cell_length <= width for line in lines)
    assert "\x1b" not in "".join(line.plain for line in lines)
    assert estimate.fit.fits == (not estimate.short_of and estimate.fit.refusal is None)


def test_a_layout_that_is_not_understood_is_no_answer() -> None:
    class Odd(FitModel):
        def __init__(self) -> None:
            pass

        def question(self, load: LoadSettings) -> object:  # type: ignore[override]
            raise ValueError("a head of no width")

    assert estimate_fit(Odd(), LoadSettings(), HOST) is None


def opened(gpu_layers: int, device: str, memory: int = 300_000_000) -> EngineInfo:
    model = ModelEntry("big", "Big", "F16")
    use = MemoryUse(memory // 3, memory // 3, memory // 3, device)
    return EngineInfo(model, LoadSettings(), device, 1.0, use, gpu_layers=gpu_layers)


def test_closing_the_open_model_makes_room(demo: FitModel) -> None:
    total = priced(demo).fit.total_bytes
    room = Room(DeviceRoom("CPU", total - 100_000_000))
    assert not priced(demo, room).fit.fits
    estimate = estimate_fit(demo, LoadSettings(), room, opened(0, "CPU"))
    assert estimate is not None
    assert fit_summary(estimate) == ("✓ fits once Big F16 is closed", "rows--warning")


def test_what_is_on_a_gpu_is_closed_before_anything_is_loaded() -> None:
    freed = room_without(opened(5, "CUDA1"), WITH_GPUS)
    assert [gpu.free_bytes for gpu in freed.gpus] == [80_000_000, 360_000_000]
    assert room_without(None, HOST) is HOST
    assert room_without(opened(5, "elsewhere"), WITH_GPUS) is WITH_GPUS
    # A model that is split gives back to each of them what it holds there.
    info = opened(5, "CUDA1")
    assert info.memory is not None
    split = replace(info.memory, by_device=(("CPU", 7), ("CUDA0", 20_000_000), ("CUDA1", 260_000_000)))
    freed = room_without(replace(info, memory=split), WITH_GPUS)
    assert [gpu.free_bytes for gpu in freed.gpus] == [100_000_000, 320_000_000]
    assert freed.host == WITH_GPUS.host
    # Pages of a file that is mapped were free all the time.
    assert room_without(opened(0, "CPU"), HOST).host.free_bytes == 5_500_000_000


def test_a_warning_for_what_llama_cpp_would_refuse(demo: FitModel) -> None:
    shown = text(priced(demo, type_v="q8_0", flash_attn="off"), type_v="q8_0", flash_attn="off")
    assert "✗ refused: A quantized V cache needs" in shown
    assert "Set flash_attn to auto" in shown
    assert "longer than the model\nwas trained for." in text(priced(demo, num_ctx=10_000), num_ctx=10_000)


def test_the_last_load_is_shown_with_the_error_of_its_estimate() -> None:
    taken, estimate = MemoryUse(100_000_000, 50_000_000, 21_200_000), MemoryUse(100_000_000, 50_000_000, 21_884_800)
    record = LoadRecord("/m", LoadSettings(num_ctx=8192), "CPU", taken, estimate, 1.0, 52.13)
    lines = [line.plain for line in record_lines(record, 38)]
    assert lines[0] == f"last load: {fmt.size(171_200_000)}, estimate +0.4 %"
    assert "context 8,192" in lines[1]
    assert "52.1 tokens/s on CPU" in lines[2]
    assert "not loaded here yet" in record_lines(None, 38)[0].plain


def test_each_buffer_of_the_last_load_is_beside_its_estimate() -> None:
    estimate, taken = (
        MemoryUse.of([MemoryBuffer("CPU", "KV", 2**24), MemoryBuffer("CUDA0", "compute", size)])
        for size in (2**24, 2**23)
    )
    record = LoadRecord("/m", LoadSettings(), "CUDA0", taken, estimate, 1.0)
    lines = [line.plain for line in record_lines(record, 38)]
    assert lines[1] == f"  CPU KV        {fmt.size(2**24)}, est 0.0 %"
    assert lines[2] == f"  CUDA0 compute {fmt.size(2**23)}, est +100.0 %"


async def test_the_last_load_of_an_architecture_corrects_the_estimate(demo_entry: ModelEntry) -> None:
    loads = FakeLoads()
    services = fake_services(ScriptedHost(()), files=FakeFiles(), loads=loads)
    estimator = FitEstimator(services, LoadSettings, lambda: None)
    async for _ in estimator.learn([demo_entry]):
        pass
    plain = estimator.estimate(demo_entry)
    estimate, taken = (MemoryUse.of([MemoryBuffer("CPU", "compute", size)]) for size in (2**24, 2**25))
    await loads.remember(LoadRecord("/m", LoadSettings(), "CPU", taken, estimate, 1.0, architecture="llama"))
    async for _ in estimator.learn([demo_entry]):
        pass
    corrected = estimator.estimate(demo_entry)
    assert corrected.fit.compute_bytes == 2 * plain.fit.compute_bytes
    assert "took: compute +100.0 %." in " ".join(text(corrected).split())
    assert "took" not in text(priced(FitModel(check_loadable(Path(demo_entry.path)))))


def test_the_quantizations_of_a_model_are_judged_one_by_one(demo: FitModel, demo_entry: ModelEntry) -> None:
    fits, short = priced(demo), priced(demo, Room(DeviceRoom("CPU", 200_000_000)))
    broken = replace(demo_entry, quant="Q2_K", problem="It is truncated.")
    members = [
        QuantFit(demo_entry, fits),
        QuantFit(replace(demo_entry, quant="F16"), short),
        QuantFit(broken, None),
        QuantFit(demo_entry, None, waiting=True),
    ]
    lines = [line.plain for line in family_lines(members, 38)]
    assert "✓ 8,192" in lines[1]
    assert f"✗ {short.largest:,}" in lines[2]
    assert "cannot be read" in lines[3]
    assert "…" in lines[4]
    assert all(len(line) <= 38 for line in lines)
