from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.llama.toys import write_toy
from tests.gguf.estimates import estimate
from tests.lora import write_lora
from workbench.core.parameters import LoadSettings
from workbench.gguf.fit import ALL_THAT_FIT, FitModel, FitQuestion
from workbench.gguf.header import Header
from workbench.gguf.memory import CacheSettings
from workbench.gguf.reader import read_header
from workbench.gguf.shares import DeviceRoom, Room

MIB, GIB = 2**20, 2**30
PLENTY = DeviceRoom("CPU", 64 * GIB)


def gpus(*free: int) -> tuple[DeviceRoom, ...]:
    return tuple(DeviceRoom(f"CUDA{index}", size) for index, size in enumerate(free))


@pytest.fixture(scope="module")
def headers(demo_path) -> tuple[Header, ...]:
    return (read_header(demo_path),)


@pytest.fixture(scope="module")
def model(headers) -> FitModel:
    return FitModel(headers)


@pytest.mark.parametrize(
    ("question", "settings"),
    [
        (FitQuestion(2048), CacheSettings(2048)),
        (FitQuestion(8192, ubatch=64, flash_attention=False), CacheSettings(8192, ubatch=64, flash_attention=False)),
        (FitQuestion(4096, type_k="q8_0", type_v="q4_0"), CacheSettings(4096, "q8_0", "q4_0")),
    ],
)
def test_without_a_gpu_it_is_the_estimate(headers, model, question, settings):
    expected = estimate(headers, settings)
    fit = model.price(question, Room(PLENTY))
    assert (fit.kv_bytes, fit.compute_bytes) == (expected.kv_bytes, expected.compute_bytes)
    assert fit.weights_bytes == pytest.approx(expected.weights_bytes, rel=0.001)
    assert fit.total_bytes == fit.weights_bytes + fit.kv_bytes + fit.compute_bytes
    assert (fit.fits, fit.gpu_layers, fit.free_bytes) == (True, 0, 64 * GIB)


def test_it_fits_to_the_byte(model):
    question = FitQuestion(2048)
    needed = model.price(question, Room(PLENTY)).total_bytes
    assert model.price(question, Room(DeviceRoom("CPU", needed))).fits
    assert not model.price(question, Room(DeviceRoom("CPU", needed - 1))).fits
    assert not model.price(question, Room(DeviceRoom("CPU", needed + 99, reserve_bytes=100))).fits


def test_smaller_cache_types_take_less(model):
    def kv(**types: str) -> int:
        return model.price(FitQuestion(4096, **types), Room(PLENTY)).kv_bytes

    assert kv(type_k="q8_0") == kv(type_v="q8_0") < kv()
    assert kv(type_k="q4_0", type_v="q4_0") < kv(type_k="q8_0", type_v="q8_0")
    assert kv(type_k="f32", type_v="f32") == 2 * kv()


def test_the_largest_context_fits_and_the_next_does_not(model):
    question = FitQuestion(512)
    room = Room(DeviceRoom("CPU", model.price(FitQuestion(3000), Room(PLENTY)).total_bytes))
    largest = model.largest_context(question, room)
    assert largest == 3072
    assert model.price(replace(question, n_ctx=largest), room).fits
    assert not model.price(replace(question, n_ctx=largest + 256), room).fits


def test_no_context_is_longer_than_trained(model):
    assert model.largest_context(FitQuestion(512), Room(PLENTY)) == model.trained_context == 8192


def test_no_context_fits_where_the_weights_do_not(model):
    assert model.largest_context(FitQuestion(512), Room(DeviceRoom("CPU", MIB))) == 0


def test_all_layers_go_to_a_gpu_with_room(model):
    fit = model.price(FitQuestion(2048), Room(PLENTY, gpus(24 * GIB)))
    host, gpu = fit.shares
    assert fit.gpu_layers == model.layers == 31
    assert host.kv_bytes == 0
    assert gpu.kv_bytes == fit.kv_bytes
    # The token embeddings stay with the host, and this model's output has a copy of them.
    assert gpu.weights_bytes > host.weights_bytes > 0
    assert gpu.compute_bytes > host.compute_bytes


def test_as_many_layers_as_fit(model):
    question = FitQuestion(2048)
    whole = model.price(question, Room(PLENTY, gpus(24 * GIB))).shares[1].total_bytes
    room = Room(PLENTY, gpus(whole - 1))
    assert model.most_layers(question, room) == 30
    assert model.price(question, room).gpu_layers == 30
    one_more = model.price(replace(question, gpu_layers=31), room)
    assert (one_more.fits, one_more.shares[0].fits, one_more.shares[1].fits) == (False, True, False)
    assert model.most_layers(question, Room(PLENTY, gpus(MIB))) == 0
    assert model.most_layers(question, Room(PLENTY)) == 0


def test_requested_layers_are_priced_and_none_counts_twice(model):
    room = Room(PLENTY, gpus(24 * GIB))
    fits = [model.price(FitQuestion(2048, gpu_layers=layers), room) for layers in range(1, 32)]
    assert [fit.gpu_layers for fit in fits] == list(range(1, 32))
    assert len({fit.kv_bytes for fit in fits}) == 1
    assert len({fit.weights_bytes for fit in fits}) == 1
    on_gpu = [fit.shares[1].weights_bytes for fit in fits]
    assert on_gpu == sorted(on_gpu)
    assert model.price(FitQuestion(2048, gpu_layers=99), room).gpu_layers == 31


def test_layers_are_spread_over_gpus_by_what_is_free(model):
    fit = model.price(FitQuestion(2048), Room(PLENTY, gpus(20 * GIB, 10 * GIB)))
    first, second = fit.shares[1:]
    assert fit.gpu_layers == 31
    assert first.kv_bytes / fit.kv_bytes == pytest.approx(2 / 3, abs=0.05)
    assert first.kv_bytes + second.kv_bytes == fit.kv_bytes


def test_layers_make_way_for_a_longer_context(model):
    question = FitQuestion(512)
    gpu = gpus(model.price(FitQuestion(1024), Room(PLENTY, gpus(24 * GIB))).shares[1].total_bytes)
    # With all layers on it the GPU is full at 1,024 tokens; with some of them on the host there is more room.
    assert model.largest_context(replace(question, gpu_layers=31), Room(PLENTY, gpu)) == 1024
    assert model.largest_context(replace(question, gpu_layers=ALL_THAT_FIT), Room(PLENTY, gpu)) == 8192


@given(
    st.lists(st.integers(0, 400 * MIB), max_size=3),
    st.integers(0, 400 * MIB),
    st.integers(1, 9000),
    st.integers(-1, 40),
)
def test_a_context_that_fits_is_priced_as_fitting(model, free, host, n_ctx, layers):
    room = Room(DeviceRoom("CPU", host), gpus(*free))
    question = FitQuestion(n_ctx, gpu_layers=layers)
    fit = model.price(question, room)
    assert fit.fits == all(share.total_bytes <= share.device.free_bytes for share in fit.shares)
    assert sum(share.kv_bytes for share in fit.shares) == model.price(question, Room(PLENTY)).kv_bytes
    if layers < 0:
        assert all(share.fits for share in fit.shares[1:])
        assert fit.gpu_layers == model.most_layers(question, room)


def test_each_sequence_has_its_own_states(tmp_path):
    hybrid = FitModel([read_header(write_toy(tmp_path / "m.gguf", "lfm2"))])
    one, three = (hybrid.price(FitQuestion(512, sequences=count), Room(PLENTY)).shares[0] for count in (1, 3))
    assert three.state_bytes == 3 * one.state_bytes > 0
    assert [each.purpose for each in one.buffers] == ["weights", "KV", "states", "compute"]
    on_gpu = hybrid.price(FitQuestion(512, sequences=3), Room(PLENTY, gpus(GIB)))
    assert sum(share.state_bytes for share in on_gpu.shares) == three.state_bytes


def test_an_estimate_is_corrected_by_purpose(headers, model):
    corrected = FitModel(headers)
    corrected.correction = {"compute": 1.5, "KV": 0.5}
    room, question = Room(PLENTY, gpus(2**34)), FitQuestion(4096, gpu_layers=20)
    for plain, share in zip(model.price(question, room).shares, corrected.price(question, room).shares, strict=True):
        assert share.weights_bytes == plain.weights_bytes
        assert share.kv_bytes == plain.kv_bytes / 2
        assert share.compute_bytes == round(plain.compute_bytes * 1.5)
        assert sum(buffer.size_bytes for buffer in share.buffers) == share.total_bytes


def test_copies_for_the_processor_count(headers, tiny_model):
    plain = FitModel(headers).price(FitQuestion(512), Room(PLENTY))
    copied = FitModel(headers, {"Q4_1"}).price(FitQuestion(512), Room(PLENTY))
    assert copied.weights_bytes > 1.4 * plain.weights_bytes
    unmapped = FitModel(headers, {"Q4_1"}).price(FitQuestion(512, mapped=False), Room(PLENTY))
    assert unmapped.weights_bytes == pytest.approx(plain.weights_bytes, rel=0.001)
    on_gpu = FitModel(headers, {"Q4_1"}).price(FitQuestion(512), Room(PLENTY, gpus(24 * GIB)))
    assert on_gpu.weights_bytes < copied.weights_bytes


def big_model() -> FitModel:
    """Eighty layers, as of 70 billion parameters; there are no tensors in it."""
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": 80,
        "llama.embedding_length": 8192,
        "llama.attention.head_count": 64,
        "llama.attention.head_count_kv": 8,
        "llama.context_length": 131072,
        "llama.feed_forward_length": 28672,
        "llama.vocab_size": 128256,
    }
    return FitModel([Header("big.gguf", 3, metadata, {}, (), 32, 0, 0)])


def test_a_question_asks_little_of_the_arithmetic(monkeypatch):
    from workbench.gguf import fit

    asked = []
    real = fit.cache_bytes_by_layer
    monkeypatch.setattr(fit, "cache_bytes_by_layer", lambda *args: asked.append(1) or real(*args))
    model, room = big_model(), Room(PLENTY, gpus(24 * GIB, 24 * GIB))
    model.price(FitQuestion(8192), room)
    assert len(asked) == 1
    model.largest_context(FitQuestion(8192), room)
    assert len(asked) <= 1 + 10


def test_one_gpu_alone_is_asked_about(model):
    room = Room(PLENTY, gpus(0, 24 * GIB))
    assert model.price(FitQuestion(2048, only_gpu=1), room).gpu_layers == model.layers
    assert [share.device.name for share in model.price(FitQuestion(2048, only_gpu=1), room).shares] == ["CPU", "CUDA1"]
    assert model.most_layers(FitQuestion(2048, only_gpu=0), room) == 0
    assert model.price(FitQuestion(2048, only_gpu=7), room).gpu_layers == 0
    asked = LoadSettings(split_mode="none", main_gpu=1)
    assert (model.question(asked).only_gpu, model.question(LoadSettings(main_gpu=1)).only_gpu) == (1, None)


def with_adapter(tmp_path, demo_path, headers, **options):
    header = read_header(write_lora(tmp_path / "lora.gguf", demo_path, tensors=60, rank=64, **options))
    return header, FitModel(headers, adapter=header)


def test_an_adapter_is_counted_with_the_weights(tmp_path, demo_path, headers, model):
    header, adapted = with_adapter(tmp_path, demo_path, headers)
    assert adapted.adapter_bytes == header.tensor_bytes > 10 * MIB
    for question in (FitQuestion(512), FitQuestion(512, mapped=False)):
        plain, more = model.price(question, Room(PLENTY)), adapted.price(question, Room(PLENTY))
        assert more.weights_bytes - plain.weights_bytes == header.tensor_bytes
        assert (more.kv_bytes, more.compute_bytes) == (plain.kv_bytes, plain.compute_bytes)


def test_the_matrices_of_an_adapter_are_placed_with_their_layers(tmp_path, demo_path, headers, model):
    header, adapted = with_adapter(tmp_path, demo_path, headers)
    each = header.tensor_bytes // 30
    for layers in (0, 1, 11, 31):
        question, room = FitQuestion(512, gpu_layers=layers), Room(PLENTY, gpus(24 * GIB))
        plain, more = model.price(question, room).shares, adapted.price(question, room).shares
        grown = [share.weights_bytes - before.weights_bytes for share, before in zip(more, plain, strict=True)]
        # The output counts as a layer and is not changed by this adapter.
        on_gpu = max(0, layers - 1) * each
        assert grown == ([header.tensor_bytes - on_gpu, on_gpu] if layers else [header.tensor_bytes])


def test_an_adapter_may_keep_a_layer_from_the_gpu(tmp_path, demo_path, headers, model):
    _, adapted = with_adapter(tmp_path, demo_path, headers)
    question = FitQuestion(512)
    room = Room(PLENTY, gpus(model.price(question, Room(PLENTY, gpus(24 * GIB))).shares[1].total_bytes))
    assert adapted.most_layers(question, room) < model.most_layers(question, room) == model.layers
