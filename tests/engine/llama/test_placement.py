"""Settings of placement on their way into llama.cpp."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.reliability.toys import experts
from workbench.core.cancel import CancelToken
from workbench.core.errors import ModelLoadError, ParameterError
from workbench.core.parameters import LoadSettings
from workbench.core.telemetry import ComputeDevice
from workbench.engine.llama.devices import offload_devices
from workbench.engine.llama.model import offloaded_layers
from workbench.engine.llama.plan import Gpu, Machine, make_plan
from workbench.gguf.check import check_loadable

GIB = 2**30
TWO = Machine(4, 8 * GIB, 8 * GIB, (Gpu("CUDA0", 8 * GIB), Gpu("CUDA1", 8 * GIB)))
NONE = Machine(4, 8 * GIB, 8 * GIB)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return check_loadable(experts(tmp_path_factory.mktemp("toys") / "m.gguf"))


@pytest.fixture
def native_load(mixture):
    from workbench.engine.llama.native import api
    from workbench.engine.llama.weights import load_weights

    def load(**settings) -> list[int]:
        model = load_weights(mixture[0].path, LoadSettings(**settings), lambda _: None, CancelToken())
        found = [api.llama_model_n_layer(model), api.llama_model_size(model)]
        api.llama_model_free(model)
        return found

    return load


def test_llama_cpp_takes_every_setting(native_load):
    plain = native_load(num_gpu=0)
    for settings in (
        {"num_gpu": 3, "num_cpu_moe": -1},
        {"num_gpu": 3, "num_cpu_moe": 1, "override_tensor": (r"blk\.1\.attn=CPU",), "tensor_split": ("3", "1")},
        {"num_gpu": 0, "tensor_split": ("1",) * 20},
        {"num_gpu": 0, "num_cpu_moe": 1, "split_mode": "none", "main_gpu": 3},
        {"num_gpu": -1, "load_mode": "dio"},
        {"num_gpu": -1, "load_mode": "mmap+mlock", "offload_kqv": False},
        {"num_gpu": -1, "use_mmap": False},
    ):
        assert native_load(**settings) == plain, settings


def test_a_pattern_that_only_python_understands_is_refused_by_llama_cpp(native_load):
    with pytest.raises(ModelLoadError, match="cannot load"):
        native_load(num_gpu=3, override_tensor=(r"(?P<x>y)=CPU",))


def test_a_device_that_is_not_there_does_not_end_the_process(native_load):
    for settings in ({"devices": ("CUDA9",)}, {"override_tensor": ("exps=CUDA9",)}):
        with pytest.raises(ModelLoadError, match="no device 'CUDA9'"):
            native_load(num_gpu=3, **settings)


def test_what_is_chosen_is_what_was_asked_for(mixture):
    plan = make_plan(mixture, LoadSettings(devices=("CUDA1",), num_cpu_moe=1), TWO)
    assert (plan.backend, plan.settings.num_gpu, plan.settings.num_cpu_moe) == ("CUDA1", 3, 1)
    assert make_plan(mixture, LoadSettings(num_gpu=0, devices=("ROCm9",)), TWO).settings.num_gpu == 0
    named = LoadSettings(devices=("CUDA1", "CUDA0"))
    assert make_plan(mixture, named, TWO).backend == "CUDA1, CUDA0"
    assert make_plan(mixture, replace(named, split_mode="none", main_gpu=0), TWO).backend == "CUDA1"


def test_settings_without_effect_are_named(mixture, demo_path):
    load = LoadSettings(override_tensor=(r"blk\.9\.=CPU", "exps=CUDA0"), num_cpu_moe=2)
    warnings = " ".join(make_plan(mixture, load, NONE).warnings)
    assert "exps=CUDA0 has no effect" in warnings
    assert r"blk\.9\.=CPU matches no tensor" in warnings
    split = LoadSettings(tensor_split=("1", "1", "1"), devices=("CUDA7",), num_cpu_moe=1)
    warnings = " ".join(make_plan(check_loadable(demo_path), split, NONE).warnings)
    assert "no experts" in warnings
    assert "tensor_split and devices have no effect" in warnings
    # What is refused where there are GPUs: more shares than GPUs, and one that is not there.
    for named in (LoadSettings(tensor_split=("1", "1", "1")), LoadSettings(devices=("CUDA7",))):
        with pytest.raises(ParameterError, match=r"3 shares for 2 GPUs|no GPU 'CUDA7'"):
            make_plan(mixture, named, TWO)


def test_more_layers_than_fit_are_named(demo_path):
    small = Machine(4, 8 * GIB, 8 * GIB, (Gpu("CUDA0", 600 * 2**20),))
    plan = make_plan(check_loadable(demo_path), LoadSettings(num_gpu=31), small)
    assert plan.settings.num_gpu == 31
    assert "CUDA0 needs about" in plan.warnings[0]
    assert "(num_gpu) fit" in plan.warnings[0]


def test_integrated_gpus_count_only_alone_and_a_card_once():
    cpu = ComputeDevice("CPU")
    card, again = (ComputeDevice(name, "gpu", pci_id="0000:01:00.0") for name in ("CUDA0", "Vulkan0"))
    chip = ComputeDevice("Vulkan1", "integrated", pci_id="0000:00:02.0")
    assert offload_devices([cpu, chip, card, again]) == [card]
    assert offload_devices([cpu, chip]) == [chip]
    assert offload_devices([cpu]) == []


def test_the_layers_that_llama_cpp_reports():
    assert offloaded_layers(["load_tensors: offloading 2 layers", "load_tensors: offloaded 3/31 layers to GPU"]) == 3
    assert offloaded_layers(["nothing"]) is None
