from __future__ import annotations

from ast import literal_eval
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.binding import Binding

from tests.gguf.conftest import write_model
from tests.lora import write_lora
from tests.reliability.toys import experts
from tests.ui.fakes import FakeFiles, FakeLoads, fake_services
from workbench.core.errors import ModelFileError, ParameterError
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
from workbench.ui.models.fit import UNKNOWN, FitEstimate, FitEstimator, estimate_fit, room_without
from workbench.ui.models.fit_lines import (
    QuantFit,
    family_lines,
    fit_lines,
    fit_summary,
    record_lines,
    short_fit,
    short_settings,
)
from workbench.ui.models.keys import WHAT_IF
from workbench.ui.models.what_if import CACHE_TYPES, LONGEST, WhatIf, next_context, typed_context

HOST = Room(DeviceRoom("CPU", 5_300_000_000))
WITH_GPUS = Room(DeviceRoom("CPU", 5_300_000_000), (DeviceRoom("CUDA0", 80_000_000), DeviceRoom("CUDA1", 60_000_000)))
KEYS = ["[ ]", "k", "v", "- +", "a", "b", "w", "x", "X"]


@pytest.fixture(scope="module")
def demo(demo_path: Path) -> FitModel:
    return FitModel(check_loadable(demo_path))


@pytest.fixture
def demo_entry(demo_path: Path) -> ModelEntry:
    return ModelEntry("demo", "SmolLM2-135M-Instruct", "Q4_1", str(demo_path), 98_432_288, bits_per_weight=5.74)


def priced(model: FitModel, room: Room = HOST, **settings: object) -> FitEstimate:
    estimate = estimate_fit(model, replace(LoadSettings(), **settings), room)  # type: ignore[arg-type]
    assert estimate is not None
    return estimate


def text(estimate: FitEstimate, width: int = 38, **values: object) -> str:
    what_if = WhatIf(LoadSettings(), values)  # type: ignore[arg-type]
    return "\n".join(line.plain.rstrip() for line in fit_lines(estimate, what_if, KEYS, width))


# Pricing


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


# What is open


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


# What if


TRIALS = [
    literal_eval(f"({binding.action.removeprefix('screen.what_if(').removesuffix(')')},)")
    for binding in WHAT_IF
    if isinstance(binding, Binding) and binding.action.startswith("screen.what_if(")
]
"""The arguments of the keys that try other settings."""


@pytest.fixture
def mixture_entry(tmp_path: Path) -> ModelEntry:
    """A mixture of experts of 2 layers, whose experts take 192 KiB of its 300 KiB or so."""
    path = experts(tmp_path / "m.gguf")
    return ModelEntry("m", "Mixture", "F32", str(path), path.stat().st_size)


async def learned(room: Room, model: ModelEntry) -> FitEstimator:
    estimator = fitter_on(FakeFiles(room))
    async for _ in estimator.learn([model]):
        pass
    return estimator


async def test_every_lever_has_a_key_that_changes_the_estimate(mixture_entry: ModelEntry) -> None:
    estimator = await learned(WITH_GPUS, mixture_entry)
    changed = set()
    for name, *step in TRIALS:
        for base in ({}, {"num_cpu_moe": 1, "num_gpu": 1, "num_ctx": 1024}):
            estimator.what_if = WhatIf(LoadSettings(), base)
            estimator.try_next(name, *(step or [1]), mixture_entry)
            changed |= {key for key, value in estimator.what_if.values.items() if base.get(key) != value}
            assert estimator.estimate(mixture_entry) is not None
    assert changed >= {
        "num_ctx", "type_k", "type_v", "num_gpu", "flash_attn", "num_batch", "num_ubatch", "load_mode", "num_cpu_moe",
        "offload_kqv", "devices", "swa_full",
    }  # fmt: skip


async def test_the_gpus_are_filled_with_the_fewest_experts_on_the_cpu(mixture_entry: ModelEntry) -> None:
    estimator = await learned(Room(HOST.host, (DeviceRoom("CUDA0", 2**40),)), mixture_entry)
    settings = {"num_ctx": 256, "num_ubatch": 32}
    estimator.what_if = WhatIf(LoadSettings(**settings))
    estimator.try_next("fullest", 1, mixture_entry)
    assert estimator.what_if.values == {"num_gpu": 3}
    whole = estimator.estimate(mixture_entry).fit.shares[1].total_bytes
    for missing, expected in ((1, {"num_cpu_moe": 1, "num_gpu": 3}), (10**9, {"num_cpu_moe": -1, "num_gpu": 0})):
        estimator = await learned(Room(HOST.host, (DeviceRoom("CUDA0", whole - missing),)), mixture_entry)
        estimator.what_if = WhatIf(LoadSettings(**settings))
        estimator.try_next("fullest", 1, mixture_entry)
        assert estimator.what_if.values == expected
        assert estimator.estimate(mixture_entry).fit.fits


async def test_levers_of_gpus_say_that_there_is_none(mixture_entry: ModelEntry) -> None:
    estimator = await learned(HOST, mixture_entry)
    for name in ("num_gpu", "num_cpu_moe", "devices", "fullest"):
        with pytest.raises(ParameterError, match="sees no GPU"):
            estimator.try_next(name, 1, mixture_entry)


def test_changes_that_change_nothing_are_none() -> None:
    what_if = WhatIf(LoadSettings()).put("num_ctx", 4096).put("type_k", "q8_0").put("num_ctx", 0)
    assert what_if.values == {"type_k": "q8_0"}
    assert what_if.settings.type_k == "q8_0"
    assert what_if.on(LoadSettings(type_k="q8_0")).values == {}
    with pytest.raises(ParameterError):
        what_if.put("num_ctx", -4)


def test_types_go_round() -> None:
    what_if = WhatIf(LoadSettings())
    seen = []
    for _ in KV_TYPES:
        seen.append(what_if.settings.type_k)
        what_if = what_if.next("type_k")
    assert seen == list(CACHE_TYPES)
    assert sorted(seen) == sorted(KV_TYPES)
    assert what_if.values == {}
    assert what_if.next("type_v").settings.type_v == CACHE_TYPES[1]


def test_contexts_are_doubled_and_stop_at_what_was_trained() -> None:
    assert [next_context(now, 1, 40960) for now in (256, 5000, 32768, 40960)] == [512, 8192, 40960, 65536]
    assert [next_context(now, -1, 40960) for now in (65536, 40960, 5000, 256)] == [40960, 32768, 4096, 256]
    assert next_context(LONGEST, 1, None) == LONGEST


@pytest.mark.parametrize(
    ("typed", "tokens"), [("16384", 16384), ("16,384", 16384), ("16k", 16384), (" 1.5K ", 1536), ("1M", 2**20)]
)
def test_a_context_can_be_typed(typed: str, tokens: int) -> None:
    assert typed_context(typed) == tokens


@pytest.mark.parametrize("typed", ["", "abc", "-5", "0", "99999999999", "1e5", "16kk", "٣", "9" * 400])
def test_a_text_that_is_not_a_context_is_refused(typed: str) -> None:
    with pytest.raises(ParameterError):
        typed_context(typed)


def test_a_warning_for_what_llama_cpp_would_refuse(demo: FitModel) -> None:
    shown = text(priced(demo, type_v="q8_0", flash_attn="off"), type_v="q8_0", flash_attn="off")
    assert "✗ refused: A quantized V cache needs" in shown
    assert "Set flash_attn to auto" in shown
    assert "longer than the model\nwas trained for." in text(priced(demo, num_ctx=10_000), num_ctx=10_000)


# What was


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


# Which of them fit


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


# Reading files and the machine


class CountingFiles(FakeFiles):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
        self.reads += 1
        return await super().fit_model(path, adapter)


def fitter_on(files: FakeFiles, loads: FakeLoads | None = None) -> FitEstimator:
    services = fake_services(ScriptedHost(()), files=files, loads=loads)
    return FitEstimator(services, LoadSettings, lambda: None)


async def test_a_file_is_read_once_and_priced_from_then_on(demo_entry: ModelEntry) -> None:
    files = CountingFiles()
    estimator = fitter_on(files)
    assert estimator.estimate(demo_entry) is None
    for _ in range(3):
        await estimator.look()
        await estimator.read(demo_entry)
    assert files.reads == 1
    first = estimator.estimate(demo_entry)
    assert first is not None
    assert estimator.estimate(demo_entry) is first
    estimator.what_if = estimator.what_if.put("num_ctx", 512)
    second = estimator.estimate(demo_entry)
    assert second is not None
    assert second.fit.kv_bytes < first.fit.kv_bytes


async def test_what_is_free_is_looked_at_again(demo_entry: ModelEntry) -> None:
    files = FakeFiles()
    estimator = fitter_on(files)
    assert await estimator.look()
    assert not await estimator.look()
    await estimator.read(demo_entry)
    files._room = Room(DeviceRoom("CPU", 1_000_000))
    assert await estimator.look()
    estimate = estimator.estimate(demo_entry)
    assert estimate is not None
    assert not estimate.fit.fits


async def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    estimator = fitter_on(FakeFiles())
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF\x1b[31m")
    bad, none = ModelEntry("bad", "Bad", path=str(path)), ModelEntry("far", "Far")
    await estimator.look()
    for model in (bad, none):
        assert not estimator.knows(model)
        await estimator.read(model)
        assert estimator.knows(model)
        assert estimator.estimate(model) is None
        assert estimator.problem(model)
        assert "\x1b" not in estimator.problem(model)


async def test_what_the_arithmetic_does_not_understand_is_reported(
    demo_entry: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = fitter_on(FakeFiles())
    monkeypatch.setattr("workbench.ui.models.fit.estimate_fit", lambda *_: None)
    await estimator.look()
    await estimator.read(demo_entry)
    assert estimator.problem(demo_entry) == UNKNOWN


async def test_files_are_not_kept_without_end(demo_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ui.models.fit.KEPT", 2)
    estimator = fitter_on(FakeFiles())
    models = [ModelEntry(str(number), "Some", path=str(demo_path)) for number in range(3)]
    for model in models:
        await estimator.read(model)
    assert [estimator.knows(model) for model in models] == [False, True, True]


async def test_the_newest_load_is_recalled(demo_entry: ModelEntry) -> None:
    loads = FakeLoads()
    estimator = fitter_on(FakeFiles(), loads)
    await estimator.recall(demo_entry)
    assert estimator.record(demo_entry) is None
    memory = MemoryUse(1, 2, 3)
    for at in (1.0, 2.0):
        await loads.remember(LoadRecord(str(demo_entry.path), LoadSettings(), "CPU", memory, memory, at))
    await estimator.recall(demo_entry)
    record = estimator.record(demo_entry)
    assert record is not None
    assert record.at == 2.0


async def test_reading_reports_errors_without_raising(demo_entry: ModelEntry) -> None:
    class Gone(FakeFiles):
        async def fit_model(self, path: Path, adapter: Path | None = None) -> FitModel:
            raise ModelFileError("It is gone.", "Look again.")

    estimator = fitter_on(Gone())
    await estimator.read(demo_entry)
    assert estimator.problem(demo_entry) == "It is gone."
