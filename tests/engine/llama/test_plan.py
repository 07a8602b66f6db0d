from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core.errors import MemoryShortError, ParameterError
from workbench.core.parameters import LoadSettings
from workbench.engine.llama.plan import Gpu, Machine, make_plan
from workbench.gguf.check import check_loadable

GIB = 2**30


@pytest.fixture(scope="module")
def headers(demo_path):
    return check_loadable(demo_path)


def machine(total: int = 8 * GIB, available: int | None = None, *gpus: Gpu) -> Machine:
    return Machine(4, total, total if available is None else available, gpus)


def test_what_is_left_open_is_chosen(headers):
    plan = make_plan(headers, LoadSettings(), machine())
    assert plan.settings.num_ctx == 8192
    assert plan.settings.num_thread == 4
    assert plan.settings.num_gpu == 0
    assert plan.backend == "CPU"
    assert plan.warnings == ()


def test_a_context_longer_than_trained_for_is_allowed_and_said(headers):
    plan = make_plan(headers, LoadSettings(num_ctx=16384), machine())
    assert plan.settings.num_ctx == 16384
    assert "longer than the 8192" in plan.warnings[0]


def test_what_cannot_fit_is_refused_with_a_context_that_does(headers):
    with pytest.raises(MemoryShortError, match="needs") as caught:
        make_plan(headers, LoadSettings(num_ctx=1_000_000), machine(total=GIB))
    assert "num_ctx" in caught.value.hint


def test_a_model_larger_than_the_machine_names_the_switch(headers):
    with pytest.raises(MemoryShortError) as caught:
        make_plan(headers, LoadSettings(), machine(total=50_000_000))
    assert "memory_guard" in caught.value.hint
    make_plan(headers, LoadSettings(), machine(total=50_000_000), guard=False)


def test_earlier_loads_change_the_layers_on_a_gpu_but_not_the_estimate(headers):
    one = machine(8 * GIB, None, Gpu("CUDA0", 800 * 2**20))
    plain = make_plan(headers, LoadSettings(), one)
    corrected = make_plan(headers, LoadSettings(), one, correction={"compute": 1.5})
    assert 0 < corrected.settings.num_gpu < plain.settings.num_gpu
    again = make_plan(headers, LoadSettings(num_gpu=corrected.settings.num_gpu), one)
    assert corrected.needed == again.needed


@pytest.mark.parametrize(("asked", "warned"), [("auto", False), ("on", True), ("off", False)])
def test_flash_attention_is_off_where_llama_cpp_has_none(headers, asked, warned):
    metadata = {name.replace("llama.", "plm."): value for name, value in headers[0].metadata.items()}
    header = replace(headers[0], metadata=metadata | {"general.architecture": "plm"})
    plan = make_plan([header], LoadSettings(flash_attn=asked), machine())
    assert plan.settings.flash_attn == "off"
    assert any("no flash attention for plm" in each for each in plan.warnings) is warned
    assert make_plan(headers, LoadSettings(flash_attn=asked), machine()).settings.flash_attn == asked


def test_little_free_memory_is_a_warning(headers):
    plan = make_plan(headers, LoadSettings(), machine(available=100_000_000))
    assert "slow" in plan.warnings[0]


def test_as_many_layers_as_fit_go_to_the_gpu(headers):
    plan = make_plan(headers, LoadSettings(), machine(8 * GIB, None, Gpu("CUDA0", 24 * GIB)))
    assert plan.settings.num_gpu == 31
    assert plan.backend == "CUDA0"
    some = make_plan(headers, LoadSettings(), machine(8 * GIB, None, Gpu("CUDA0", 800 * 2**20)))
    assert 0 < some.settings.num_gpu < 31
    none = make_plan(headers, LoadSettings(), machine(8 * GIB, None, Gpu("CUDA0", 100 * 2**20)))
    assert (none.settings.num_gpu, none.backend) == (0, "CPU")


def test_layers_that_were_asked_for_are_taken_as_asked(headers):
    gpu = Gpu("CUDA0", 24 * GIB)
    assert make_plan(headers, LoadSettings(num_gpu=7), machine(8 * GIB, None, gpu)).settings.num_gpu == 7
    assert make_plan(headers, LoadSettings(num_gpu=0), machine(8 * GIB, None, gpu)).settings.num_gpu == 0
    plan = make_plan(headers, LoadSettings(num_gpu=7), machine())
    assert plan.settings.num_gpu == 0
    assert "none to use" in plan.warnings[0]


def test_memory_on_the_gpu_does_not_count_against_the_host(headers):
    gpu = Gpu("CUDA0", 24 * GIB)
    make_plan(headers, LoadSettings(), machine(300_000_000, None, gpu))


def test_one_of_several_gpus_can_have_everything(headers):
    equal = machine(8 * GIB, None, Gpu("CUDA0", 8 * GIB), Gpu("CUDA1", 8 * GIB))
    assert make_plan(headers, LoadSettings(), equal).backend == "CUDA0, CUDA1"
    two = machine(8 * GIB, None, Gpu("CUDA0", 100 * 2**20), Gpu("CUDA1", 24 * GIB))
    plan = make_plan(headers, LoadSettings(split_mode="none", main_gpu=1), two)
    assert (plan.backend, plan.settings.num_gpu) == ("CUDA1", 31)
    plan = make_plan(headers, LoadSettings(split_mode="none"), two)
    assert (plan.backend, plan.settings.num_gpu) == ("CPU", 0)


def test_a_main_gpu_that_is_not_there_is_refused_with_those_that_are(headers):
    two = machine(8 * GIB, None, Gpu("CUDA0", GIB), Gpu("CUDA1", GIB))
    with pytest.raises(ParameterError, match="main_gpu cannot be 2") as caught:
        make_plan(headers, LoadSettings(main_gpu=2), two)
    assert "1 is CUDA1" in caught.value.hint
    make_plan(headers, LoadSettings(main_gpu=2, num_gpu=0), two)
    make_plan(headers, LoadSettings(main_gpu=2), machine())
