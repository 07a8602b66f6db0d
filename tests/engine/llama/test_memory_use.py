"""What llama.cpp says in its log that it took, device by device."""

from __future__ import annotations

import ctypes

import pytest

from tests.engine.llama.conftest import answer
from tests.reliability.probe import heap_use
from workbench.core.engine import Request
from workbench.core.memory import MemoryBuffer
from workbench.core.parameters import Sampling
from workbench.engine.llama.model import memory_use

MIB = 2**20
SPLIT = """\
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
load_tensors:        CUDA0 model buffer size =  2111.66 MiB
load_tensors:        CUDA1 model buffer size =  2291.50 MiB
llama_context:  CUDA_Host  output buffer size =     0.49 MiB
llama_kv_cache:      CUDA0 KV buffer size =   544.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =   480.00 MiB
sched_reserve:      CUDA0 compute buffer size =   160.01 MiB
sched_reserve:      CUDA1 compute buffer size =   300.75 MiB
sched_reserve:  CUDA_Host compute buffer size =    72.02 MiB
""".splitlines()


def test_a_model_that_is_split_over_two_devices():
    memory = memory_use(SPLIT)
    assert {name: size / MIB for name, size in memory.by_device} == pytest.approx(
        {"CPU": 281.81 + 0.49 + 72.02, "CUDA0": 2111.66 + 544 + 160.01, "CUDA1": 2291.5 + 480 + 300.75}
    )
    assert memory.device == "CUDA1"
    assert set(memory.on_gpus) == {"CUDA0", "CUDA1"}
    assert sum(size for _, size in memory.by_device) == memory.total_bytes == sum(b.size_bytes for b in memory.buffers)
    compute = {each.device: each.size_bytes / MIB for each in memory.buffers if each.purpose == "compute"}
    assert compute == pytest.approx({"CPU": 72.02, "CUDA0": 160.01, "CUDA1": 300.75})
    sizes = (memory.weights_bytes, memory.kv_bytes, memory.compute_bytes)
    assert [size / MIB for size in sizes] == pytest.approx([4684.97, 1024.0, 533.27])


def test_an_adapter_counts_as_weights_of_its_device():
    lines = [
        "llama_adapter_lora_init_impl:      CUDA0 LoRA buffer size =    20.00 MiB",
        "llama_adapter_lora_init_impl:      CUDA1 LoRA buffer size =    30.00 MiB",
        "llama_adapter_lora_init_impl: CPU_Mapped LoRA buffer size =     1.00 MiB",
    ]
    plain, adapted = memory_use(SPLIT), memory_use([*SPLIT, *lines])
    assert (adapted.weights_bytes - plain.weights_bytes) / MIB == 51
    grown = [(more - size) / MIB for (_, size), (_, more) in zip(plain.by_device, adapted.by_device, strict=True)]
    assert grown == [1, 20, 30]


def test_a_recurrent_state_counts_with_the_cache():
    memory = memory_use(["llama_memory_recurrent:        CPU RS buffer size =     2.00 MiB"])
    assert (memory.kv_bytes, memory.by_device) == (2 * MIB, (("CPU", 2 * MIB),))
    assert memory.buffers[0].purpose == "states"
    compressor = memory_use(["llama_dsv4_comp_state:        CPU DSV4 csa state buffer size =     1.00 MiB"])
    assert compressor.buffers == (MemoryBuffer("CPU", "states", MIB),)


def test_nothing_is_known_where_llama_cpp_said_nothing():
    assert memory_use(["load_tensors: offloaded 33/33 layers to GPU"]) is None


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc counts what it has handed out")
async def test_a_kept_state_leaves_no_gap_in_the_heap(engine):
    await answer(engine, Request(tokens=tuple(range(1000, 1320)), sampling=Sampling(num_predict=1)))
    before = heap_use().handed_out
    kept = [engine._model.slots[0].memory.save_state() for _ in range(8)]
    assert sum(state.size_bytes for state in kept) > 6 * MIB
    assert heap_use().handed_out < before + MIB
