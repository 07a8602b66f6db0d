"""ggml's devices, by a native layer that is played."""

from __future__ import annotations

import sys

import pytest

from workbench.engine.llama import device_readings, devices
from workbench.engine.llama.device_readings import DeviceReadings
from workbench.engine.llama.plan import room_on

GIB = 2**30


class PlayedGgml:
    """The answers of libggml about some devices: name, kind, description, free and total memory."""

    def __init__(self, *found):
        self.found = found

    def ggml_backend_dev_count(self):
        return len(self.found)

    def ggml_backend_dev_get(self, index):
        return index

    def ggml_backend_dev_get_props(self, index, reference):
        props = reference._obj
        props.name, props.type, props.description, props.memory_free, props.memory_total = self.found[index]

    def ggml_backend_dev_backend_reg(self, index):
        return index

    def ggml_backend_reg_name(self, index):
        return self.found[index][0].rstrip(b"0123456789")


CPU = (b"CPU", 0, b"a processor", 8 * GIB, 8 * GIB)
SOFTWARE = (b"Vulkan0", 1, b"llvmpipe (LLVM 15.0.6, 256 bits)", 2 * GIB, 2 * GIB)
CARD = (b"Vulkan1", 1, b"Intel Arc A770", 12 * GIB, 16 * GIB)


@pytest.fixture
def play(monkeypatch):
    return lambda *found: monkeypatch.setattr(devices, "libggml", PlayedGgml(*found))


def test_a_driver_without_a_figure_of_free_memory_gives_none(play, monkeypatch):
    play(CPU, SOFTWARE, CARD)
    monkeypatch.setitem(devices.held, "Vulkan0", GIB // 2)
    cpu, software, card = devices.list_devices()
    assert (cpu.free_bytes, cpu.is_software) == (None, False)
    assert (software.free_bytes, software.total_bytes, software.held_bytes) == (None, 2 * GIB, GIB // 2)
    assert software.is_software
    assert (card.free_bytes, card.is_software) == (12 * GIB, False)


def test_a_second_model_gets_what_the_first_one_leaves_where_the_driver_reports_nothing(play, monkeypatch):
    play(CPU, SOFTWARE)
    monkeypatch.setitem(devices.held, "Vulkan0", GIB // 2)
    (gpu,) = room_on(devices.look_at_machine()).gpus
    assert gpu.free_bytes == 3 * GIB // 2


async def test_what_a_model_holds_on_devices_is_counted_until_it_is_closed(host, monkeypatch):
    from tests.engine.llama.conftest import load
    from workbench.core.models import MemoryUse

    taken = MemoryUse(1, 2, 3, by_device=(("CPU", 5), ("Vulkan7", 9)))
    monkeypatch.setattr("workbench.engine.llama.model.memory_use", lambda lines: taken)
    engine = await load(host, num_ctx=64)
    assert devices.held["Vulkan7"] == 9
    await engine.close()
    assert devices.held["Vulkan7"] == 0


def test_readings_are_of_the_call_before_and_never_wait(play):
    play(CPU, CARD)
    readings = DeviceReadings()
    assert readings.latest() == ()
    readings._asked.result(30)
    (card,) = readings.latest()
    assert card.name == "Vulkan1"


def test_readings_do_not_load_llama_cpp(monkeypatch):
    monkeypatch.delitem(sys.modules, device_readings._DEVICES)
    readings = DeviceReadings(runtime=None)
    assert readings.latest() == ()
    assert readings.latest() == ()
