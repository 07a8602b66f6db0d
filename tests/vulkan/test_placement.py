"""Where weights, caches and compute buffers go, beside the plan: nothing is computed."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import pytest

from tests.engine.llama.conftest import load
from tests.gguf.test_zoo import SAMPLE
from tests.gguf.zoo import SMALL, Shape
from tests.gguf.zoo_loader import Loader
from workbench.core.cancel import CancelToken
from workbench.core.memory import compare_buffers
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.telemetry import GpuInfo
from workbench.engine.llama import native
from workbench.engine.llama.devices import held, list_devices, look_at_machine
from workbench.engine.llama.model import memory_use
from workbench.engine.llama.native import api
from workbench.engine.llama.plan import make_plan
from workbench.engine.llama.weights import load_weights, make_context
from workbench.gguf.check import check_loadable
from workbench.gguf.compute import NO_FLASH_ATTENTION
from workbench.gguf.reader import read_header
from workbench.telemetry import checks
from workbench.telemetry.other_devices import other_devices

pytestmark = pytest.mark.vulkan

MIB = 2**20
LOGGED = 2**14
"""llama.cpp logs hundredths of a MiB, a line for each buffer."""
CLOSE = 0.03
FEW_BYTES = 5 * MIB // 4
"""How far the whole of a device may be off at least: in a toy of a few MiB, one tensor of the graph is more than that
part of it."""
LIKE_LLAMA = (
    "apertus", "command-r", "deepseek2", "dots1", "falcon", "glm4moe", "laguna", "llama", "olmo2", "phi3", "qwen2",
    "qwen3", "qwen3moe", "starcoder2",
)  # fmt: skip
"""Architectures whose layers are all of one kind: of the others, a device of a toy has not every kind."""
ON_HOST = ("falcon-h1", "granitehybrid", "mamba2", "rwkv6")
"""Architectures with weights that this backend cannot compute with: they stay on the host."""


def by_device(info: EngineInfo) -> dict[str, tuple[int, int]]:
    """The estimate and what was taken, of each device."""
    assert info.estimate is not None
    assert info.memory is not None
    estimated, taken = dict(info.estimate.by_device), dict(info.memory.by_device)
    return {name: (estimated.get(name, 0), taken.get(name, 0)) for name in estimated | taken}


def check_bytes(info: EngineInfo) -> None:
    """Weights and caches to the byte on every device."""
    for each in compare_buffers(info.estimate.buffers, info.memory.buffers):
        if each.purpose != "compute":
            assert abs(each.estimated - each.taken) <= LOGGED, each


def check_estimate(info: EngineInfo) -> None:
    """Also the whole of every device within a few per cent."""
    check_bytes(info)
    for device, (estimated, taken) in by_device(info).items():
        assert abs(estimated - taken) <= max(CLOSE * taken, FEW_BYTES), (device, estimated / MIB, taken / MIB)


def loaded(path: Path, asked: LoadSettings) -> EngineInfo:
    """A toy without words, which only llama.cpp opens, and its estimate."""
    plan = make_plan([read_header(path)], asked, look_at_machine())
    with native.log.collect() as lines:
        model = load_weights(str(path), plan.settings, lambda _: None, CancelToken())
        context = make_context(model, plan.settings, swa_full=plan.settings.swa_full)
    api.llama_free(context)
    api.llama_model_free(model)
    memory = memory_use([text for _, text in lines])
    layers = plan.settings.num_gpu
    return EngineInfo(ModelEntry("toy", "toy"), plan.settings, plan.backend, 0.0, memory, plan.needed,
                      gpu_layers=layers)  # fmt: skip


@pytest.mark.parametrize("asked", [1, 10, 30, 31, 99, -1])
async def test_layers_asked_and_got(host, asked):
    info = (await load(host, "whole", num_gpu=asked, devices=("Vulkan0",))).info
    assert info.gpu_layers == (31 if asked < 0 else min(asked, 31))
    assert info.layers == 30
    assert set(info.memory.on_gpus) == {"Vulkan0"}
    check_estimate(info)


@pytest.mark.parametrize("settings", [{}, {"tensor_split": ("1", "1")}, {"devices": ("Vulkan0",)}, {"num_parallel": 3}])
async def test_without_layers_nothing_is_on_a_device(host, settings):
    info = (await load(host, "whole", num_gpu=0, **settings)).info
    assert info.memory.on_gpus == {}
    assert info.backend == "CPU"
    assert not info.gpu_layers


@pytest.mark.parametrize(
    "settings",
    [
        {"num_ctx": 8192},
        {"num_ctx": 2048, "num_parallel": 3},
        {"type_k": "q8_0", "type_v": "q8_0"},
        {"flash_attn": "off"},
        {"num_ubatch": 64},
        {"offload_kqv": False},
        {"num_gpu": 12, "num_ctx": 4096},
        {"num_gpu": 12, "offload_kqv": False},
        {"load_mode": "none"},
        {"load_mode": "none", "num_gpu": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("devices", [("Vulkan0",), ()], ids=["one", "two"])
async def test_each_device_takes_what_was_estimated(host, settings, devices):
    check_estimate((await load(host, "whole", devices=devices, **settings)).info)


@pytest.mark.parametrize("num_gpu", [31, 12])
@pytest.mark.parametrize("split", ["1,1", "3,1", "1,0", "0,1", "1,29"])
async def test_two_devices_take_their_shares(host, split, num_gpu):
    info = (await load(host, "whole", num_gpu=num_gpu, tensor_split=tuple(split.split(",")))).info
    check_estimate(info)
    used = {each.device for each in info.memory.buffers if each.purpose == "KV"} - {"CPU"}
    assert used == {f"Vulkan{index}" for index, share in enumerate(split.split(",")) if share != "0"}


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"devices": ("Vulkan1",)}, "Vulkan1"),
        ({"split_mode": "none"}, "Vulkan0"),
        ({"split_mode": "none", "main_gpu": 1}, "Vulkan1"),
    ],
)
async def test_one_of_two_devices(host, settings, where):
    info = (await load(host, "whole", num_gpu=31, **settings)).info
    assert set(info.memory.on_gpus) == {where}
    check_estimate(info)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_cpu_moe": -1},
        {"num_cpu_moe": 1},
        {"override_tensor": (r"ffn_.*_exps=Vulkan1", r"attn=CPU")},
        {"override_tensor": (r"blk\.1\.=Vulkan1",), "devices": ("Vulkan0", "Vulkan1"), "tensor_split": ("1", "0")},
    ],
    ids=str,
)
async def test_experts_and_overrides_go_where_they_should(host, settings):
    info = (await load(host, "experts", num_ctx=256, num_gpu=3, **settings)).info
    check_estimate(info)
    weights = {each.device: each.size_bytes for each in info.memory.buffers if each.purpose == "weights"}
    if settings.get("num_cpu_moe") == -1:
        assert weights["CPU"] > weights["Vulkan0"]


async def test_memory_comes_back_when_models_are_swapped(host):
    process = psutil.Process()
    sizes = []
    for ref in ("whole", "short F16", "whole", "short F16", "whole", "short F16"):
        engine = await load(host, ref, num_gpu=-1, num_ctx=1024)
        assert sum(held.values()) == sum(engine.info.memory.on_gpus.values())
        await engine.close()
        gc.collect()
        sizes.append(process.memory_info().rss)
    assert not sum(held.values())
    # The memory of a software device is that of the process.
    assert sizes[-1] - sizes[1] < 64 * MIB, [size // MIB for size in sizes]


async def test_a_second_model_is_planned_into_what_the_first_one_leaves(host):
    """This driver reports no free memory."""
    before = {gpu.name: gpu.free_bytes for gpu in look_at_machine().gpus}
    info = (await load(host, "whole", devices=("Vulkan0",))).info
    after = {gpu.name: gpu.free_bytes for gpu in look_at_machine().gpus}
    assert before["Vulkan0"] - after["Vulkan0"] == info.memory.on_gpus["Vulkan0"]
    assert before["Vulkan1"] == after["Vulkan1"]


async def test_the_meters_show_a_device_that_no_driver_reads(host):
    info = (await load(host, "whole", devices=("Vulkan0",))).info
    card = GpuInfo("GPU-1", "nvml", 0, "NVIDIA GeForce RTX 4090", pci_id="0000:01:00.0", capability=(8, 9))
    first, second = other_devices(list(list_devices()), [card])
    assert (first.gpu.key, first.memory_own) == ("Vulkan0", info.memory.on_gpus["Vulkan0"])
    assert (second.gpu.key, second.memory_own) == ("Vulkan1", None)
    assert first.memory_total > 0
    assert first.memory_used is None
    assert first.gpu.software
    assert any("is no GPU but software" in warning for warning in info.warnings)


def test_a_tensor_that_the_device_does_not_take_is_reported(tmp_path):
    path = tmp_path / "wide.gguf"
    with Loader() as loader:
        assert loader.make(path, "llama", Shape(1024, vocab=40_000, layers=2)) == ""
    info = loaded(path, LoadSettings(num_gpu=3, num_ctx=256, devices=("Vulkan0",), flash_attn="on"))
    (alarm,) = checks.fewer_layers(info, 3)
    assert alarm.id == "left-on-host"


@pytest.mark.parametrize(
    "settings", [{"num_gpu": 99}, {"num_gpu": 3}, {"num_gpu": 99, "devices": ("Vulkan0",)}], ids=str
)
@pytest.mark.parametrize("architecture", sorted({*LIKE_LLAMA, *SAMPLE}))
def test_a_toy_takes_what_was_estimated_on_every_device(tmp_path: Path, architecture, settings):
    path = tmp_path / "m.gguf"
    with Loader() as loader:
        assert loader.make(path, architecture, SMALL) == ""
    flash = "off" if architecture in NO_FLASH_ATTENTION else "on"
    info = loaded(path, LoadSettings(num_ctx=2048, flash_attn=flash, **settings))
    if architecture in LIKE_LLAMA:
        check_estimate(info)
    elif architecture not in ON_HOST:
        check_bytes(info)


def test_more_layers_than_fit_are_said_before_the_load(files):
    machine = look_at_machine()
    asked = LoadSettings(num_gpu=31, num_ctx=131072, devices=("Vulkan0",))
    plan = make_plan(check_loadable(files["whole"]), asked, machine, guard=False)
    assert any("Vulkan0 needs about" in warning and "(num_gpu) fit" in warning for warning in plan.warnings)
