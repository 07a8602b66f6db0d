"""The memory of each device against figures that llama.cpp logged, with its Vulkan backend, for the demo model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core.parameters import LoadSettings
from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel, FitQuestion
from workbench.gguf.shares import DeviceRoom, Room

MIB, GIB = 2**20, 2**30
ONE, TWO = ("Vulkan0",), ()
LOGGED = [
    # Layers, devices, settings; the compute buffers of the host and of each device in MiB.
    (31, ONE, {}, (4.45, 98.25)),
    (31, TWO, {}, (13.87, 23.79, 109.67)),
    (31, ONE, {"num_ctx": 8192}, (10.45, 98.25)),
    (31, TWO, {"num_ctx": 8192}, (37.87, 47.79, 133.67)),
    (31, TWO, {"num_ubatch": 128}, (3.61, 5.95, 27.42)),
    (31, TWO, {"num_ctx": 8192, "num_ubatch": 128}, (9.61, 11.95, 33.42)),
    (31, ONE, {"flash_attn": "off"}, (7.20, 98.25)),
    (31, TWO, {"flash_attn": "off"}, (24.85, 61.77, 120.66)),
    (31, TWO, {"offload_kqv": False}, (4.45, 14.75, 97.12)),
    (31, TWO, {"type_k": "q8_0", "type_v": "q8_0"}, (13.99, 23.91, 109.80)),
    (31, TWO, {"num_ubatch": 16}, (0.62, 0.74, 3.43)),
    (12, ONE, {}, (4.45, 97.12)),
    (12, TWO, {}, (4.45, 15.70, 97.12)),
    (12, TWO, {"num_ctx": 8192}, (10.45, 21.70, 97.12)),
    (12, TWO, {"num_ctx": 8192, "num_ubatch": 128}, (2.76, 9.32, 24.28)),
    (12, TWO, {"flash_attn": "off"}, (7.20, 44.70, 97.12)),
    (12, TWO, {"num_ubatch": 16}, (0.67, 0.41, 3.07)),
]
CLOSE = 0.06
"""How far one compute buffer may be off: of what a device holds in all, it is a part."""
ROOM = Room(DeviceRoom("CPU", 8 * GIB), (DeviceRoom("Vulkan0", 2 * GIB), DeviceRoom("Vulkan1", 2 * GIB)))


@pytest.fixture(scope="module")
def model(demo_path) -> FitModel:
    return FitModel(check_loadable(demo_path))


def question(model: FitModel, layers: int, devices: tuple[str, ...], **settings: object) -> FitQuestion:
    return model.question(replace(LoadSettings(num_gpu=layers, devices=devices, num_ctx=2048), **settings))


@pytest.mark.parametrize(("layers", "devices", "settings", "logged"), LOGGED)
def test_compute_buffers_are_those_that_llama_cpp_logged(model, layers, devices, settings, logged):
    shares = model.price(question(model, layers, devices, **settings), ROOM).shares
    assert [share.device.name for share in shares] == ["CPU", "Vulkan0", "Vulkan1"][: len(logged)]
    for share, taken in zip(shares, logged, strict=True):
        assert share.compute_bytes / MIB == pytest.approx(taken, rel=CLOSE, abs=0.06)


def test_a_device_with_the_output_alone_has_no_layer_to_compute(model):
    alone = question(model, 1, ONE)
    (_, device) = model.price(alone, ROOM).shares
    # The first device computes the host's layers with copies of their weights; here it has the output too.
    assert device.compute_bytes / MIB == pytest.approx(97.12, rel=0.02)
    last = model.price(question(model, 2, TWO), ROOM).shares[2]
    assert last.compute_bytes / MIB == pytest.approx(97.12, rel=0.02)


def test_a_mapped_file_counts_from_its_first_to_its_last_tensor_on_the_host(model):
    partly = question(model, 10, ONE)
    assert model.mapped_bytes(partly, ROOM, 10) / MIB == pytest.approx(92.10, abs=0.01)
    whole = question(model, 31, ONE)
    assert model.mapped_bytes(whole, ROOM, 31) / MIB == pytest.approx(28.69, abs=0.01)


def test_what_an_override_puts_on_the_host_is_mapped(model):
    asked = model.question(LoadSettings(num_gpu=31, override_tensor=(r"blk\.29\.ffn_down=CPU",)))
    assert model.mapped_bytes(asked, ROOM, 31) > 60 * MIB
