from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gguf.estimates import compute_bytes, estimate, kv_bytes
from workbench.gguf.header import Array, Value
from workbench.gguf.layers import LayerKind, plan_layers
from workbench.gguf.memory import CacheSettings, cache_bytes_by_layer, row_bytes
from workbench.gguf.reader import read_header
from workbench.gguf.types import ValueType
from workbench.gguf.weights import INPUT, place_tensors

GIB = 1 << 30


def numbers(*values: int) -> Array:
    return Array(ValueType.INT32, len(values), list(values))


def flags(*values: bool) -> Array:
    return Array(ValueType.BOOL, len(values), list(values))


def model(architecture: str = "llama", **keys: Value) -> Mapping[str, Value]:
    """Metadata; a double underscore in a name stands for a dot."""
    named = {f"{architecture}.{key.replace('__', '.')}": value for key, value in keys.items()}
    return {"general.architecture": architecture, **named}


LLAMA_8B = model(
    block_count=32, embedding_length=4096, attention__head_count=32, attention__head_count_kv=8, context_length=131072
)


def test_the_worked_example_of_llama_3_1_8b() -> None:
    assert kv_bytes(LLAMA_8B, CacheSettings(8192)) == GIB


@pytest.mark.parametrize(
    ("kind", "bytes_for_256"),
    [("f32", 1024), ("f16", 512), ("bf16", 512), ("q8_0", 272), ("q5_1", 192), ("q5_0", 176), ("q4_1", 160),
     ("q4_0", 144), ("iq4_nl", 144)],
)  # fmt: skip
def test_rows_of_the_cache_types(kind: str, bytes_for_256: int) -> None:
    assert row_bytes(kind, 256) == bytes_for_256


def test_k_and_v_types_count_apart() -> None:
    plain = kv_bytes(LLAMA_8B, CacheSettings(4096))
    assert kv_bytes(LLAMA_8B, CacheSettings(4096, type_k="q8_0")) == plain / 2 * (1 + 34 / 64)
    assert kv_bytes(LLAMA_8B, CacheSettings(4096, type_v="q8_0")) == plain / 2 * (1 + 34 / 64)


@pytest.mark.parametrize(("n_ctx", "cells"), [(1, 256), (256, 256), (257, 512), (4096, 4096)])
def test_the_context_is_rounded_up(n_ctx: int, cells: int) -> None:
    assert CacheSettings(n_ctx).cells == cells


def test_sequences_of_their_own() -> None:
    settings = CacheSettings(4096, sequences=3, unified=False)
    assert (settings.streams, settings.cells) == (3, 1536)


def test_heads_of_each_layer() -> None:
    metadata = model(
        block_count=3, embedding_length=256, attention__head_count=4, attention__head_count_kv=numbers(4, 0, 1)
    )
    assert cache_bytes_by_layer(metadata, CacheSettings(256)) == (256 * 1024, 0, 256 * 256)


def test_without_flash_attention_values_are_padded_to_the_widest_layer() -> None:
    metadata = model(
        block_count=2, embedding_length=256, attention__head_count=4, attention__head_count_kv=numbers(4, 1)
    )
    sizes = cache_bytes_by_layer(metadata, CacheSettings(256, flash_attention=False))
    assert sizes == (256 * 1024, 256 * (128 + 512))


def test_latent_attention_keeps_no_values() -> None:
    metadata = model(
        "deepseek2",
        block_count=2,
        embedding_length=2048,
        attention__head_count=16,
        attention__head_count_kv=1,
        attention__key_length=576,
        attention__value_length=512,
        attention__key_length_mla=192,
        attention__value_length_mla=128,
    )
    assert kv_bytes(metadata, CacheSettings(1024)) == 2 * 1024 * 576 * 2


def test_layers_that_predict_further_tokens_have_no_cache() -> None:
    metadata = {**LLAMA_8B, "llama.nextn_predict_layers": 2}
    assert cache_bytes_by_layer(metadata, CacheSettings(256))[-3:] == (256 * 4096, 0, 0)


WINDOWED = {"block_count": 6, "attention__sliding_window": 512, "attention__head_count": 4, "embedding_length": 256}
F, W = LayerKind.FULL, LayerKind.WINDOW


@pytest.mark.parametrize(
    ("architecture", "keys", "kinds"),
    [
        ("gemma2", {}, (W, F) * 3),
        ("gemma3", {}, (W, W, W, W, W, F)),
        ("gemma3", {"attention__sliding_window_pattern": 3}, (W, W, F) * 2),
        ("gpt-oss", {"attention__sliding_window_pattern": 0}, (W,) * 6),
        ("cohere2moe", {}, (F, W, W, W, F, W)),
        ("mimo2", {"attention__sliding_window_pattern": flags(True, False, True, True, False, False)},
         (W, F, W, W, F, F)),
        ("gemma4", {"attention__sliding_window_pattern": flags(*[True] * 5, False), "attention__shared_kv_layers": 2},
         (W, W, W, W, LayerKind.NONE, LayerKind.NONE)),
        ("phi3", {}, (F,) * 6),
        ("llama", {}, (F,) * 6),
        ("exaone4", {}, (F,) * 6),
        ("olmo2", {"attention__sliding_window": 0}, (F,) * 6),
        ("lfm2", {"attention__head_count_kv": numbers(0, 4, 0, 4, 0, 4)}, (LayerKind.RECURRENT, W) * 3),
        ("bert", {}, (LayerKind.NONE,) * 6),
    ],
)  # fmt: skip
def test_sliding_windows(architecture: str, keys: dict[str, Value], kinds: tuple[LayerKind, ...]) -> None:
    assert plan_layers(model(architecture, **{**WINDOWED, **keys}), architecture).kinds == kinds


@pytest.mark.parametrize(("architecture", "window"), [("gemma2", 4096), ("llama4", 8192), ("gemma3", 0)])
def test_the_window_of_an_architecture(architecture: str, window: int) -> None:
    assert plan_layers(model(architecture, block_count=8), architecture).window == window


def test_the_window_decides_the_cells() -> None:
    metadata = model("gemma2", **WINDOWED)
    sizes = cache_bytes_by_layer(metadata, CacheSettings(8192, ubatch=512))
    assert sizes == (1024 * 1024, 8192 * 1024) * 3
    assert cache_bytes_by_layer(metadata, CacheSettings(8192, full_window=True)) == (8192 * 1024,) * 6
    assert cache_bytes_by_layer(metadata, CacheSettings(512)) == (512 * 1024,) * 6
    two = CacheSettings(8192, sequences=2)
    assert cache_bytes_by_layer(metadata, two)[0] == 1536 * 1024
    assert cache_bytes_by_layer(metadata, replace(two, unified=False))[0] == 2 * 1024 * 1024


def test_windowed_layers_may_have_other_widths() -> None:
    keys: dict[str, Value] = {
        **WINDOWED,
        "attention__key_length": 128,
        "attention__value_length": 128,
        "attention__key_length_swa": 64,
        "attention__value_length_swa": 32,
    }
    sizes = cache_bytes_by_layer(model("gemma2", **keys), CacheSettings(256))
    assert sizes == (256 * 4 * (64 + 32) * 2, 256 * 4 * (128 + 128) * 2) * 3


@pytest.mark.parametrize(
    ("architecture", "keys", "state"),
    [
        ("mamba", {"ssm__conv_kernel": 4, "ssm__inner_size": 1536, "ssm__state_size": 16}, 3 * 1536 + 16 * 1536),
        ("mamba2", {"ssm__conv_kernel": 4, "ssm__inner_size": 1536, "ssm__state_size": 128, "ssm__group_count": 2},
         3 * (1536 + 2 * 2 * 128) + 128 * 1536),
        ("rwkv6", {"wkv__head_size": 64}, 2 * 768 + 768 * 64),
        ("rwkv7", {"wkv__head_size": 64, "token_shift_count": 1}, 768 + 768 * 64),
    ],
)  # fmt: skip
def test_recurrent_states(architecture: str, keys: dict[str, Value], state: int) -> None:
    metadata = model(architecture, block_count=2, embedding_length=768, **keys)
    assert cache_bytes_by_layer(metadata, CacheSettings(8192)) == (4 * state, 4 * state)
    assert kv_bytes(metadata, CacheSettings(8192, sequences=3)) == 3 * 2 * 4 * state


def test_hybrids_have_both() -> None:
    keys: dict[str, Value] = {
        "block_count": 8,
        "embedding_length": 256,
        "attention__head_count": 4,
        "ssm__conv_kernel": 4,
        "ssm__inner_size": 512,
        "ssm__state_size": 16,
        "ssm__group_count": 1,
    }
    sizes = cache_bytes_by_layer(model("qwen3next", **keys), CacheSettings(256))
    state = 4 * (3 * (512 + 32) + 16 * 512)
    assert sizes == (state, state, state, 256 * 1024) * 2
    listed = flags(True, False, *[True] * 6)
    sizes = cache_bytes_by_layer(model("qwen3next", attention__recurrent_layers=listed, **keys), CacheSettings(256))
    assert sizes == (state, 256 * 1024, *[state] * 6)
    assert cache_bytes_by_layer(model("falcon-h1", **keys), CacheSettings(256)) == (state + 256 * 1024,) * 8


def test_layers_of_nemotron_are_one_thing_each() -> None:
    keys: dict[str, Value] = {
        "block_count": 3,
        "embedding_length": 256,
        "attention__head_count": 4,
        "attention__head_count_kv": numbers(0, 0, 4),
        "feed_forward_length": numbers(0, 512, 0),
    }
    plan = plan_layers(model("nemotron_h", **keys), "nemotron_h")
    assert plan.kinds == (LayerKind.RECURRENT, LayerKind.NONE, LayerKind.FULL)


def test_other_states() -> None:
    lfm2 = model(
        "lfm2", block_count=1, embedding_length=1024, attention__head_count_kv=numbers(0), shortconv__l_cache=3
    )
    assert kv_bytes(lfm2, CacheSettings(256)) == 4 * 1024 * 2
    kimi = model(
        "kimi-linear",
        block_count=1,
        embedding_length=1024,
        attention__head_count=32,
        attention__head_count_kv=numbers(0),
        kda__head_dim=128,
        ssm__conv_kernel=4,
    )
    assert kv_bytes(kimi, CacheSettings(256)) == 4 * (3 * 3 * 32 * 128 + 32 * 128 * 128)


def test_an_empty_header_needs_no_memory() -> None:
    assert kv_bytes({}, CacheSettings(4096)) == 0
    assert compute_bytes({}, CacheSettings(4096)) == 0


def test_the_demo_model(demo_path: Path) -> None:
    header = read_header(demo_path)
    taken = estimate([header], CacheSettings(8192))
    assert taken.weights_bytes == header.tensor_bytes
    assert taken.kv_bytes == 30 * 8192 * (3 * 64) * 2 * 2
    assert taken.total_bytes == taken.weights_bytes + taken.kv_bytes + taken.compute_bytes


def test_weights_by_layer(tiny_model: Path, demo_path: Path) -> None:
    for path in (tiny_model, demo_path):
        header = read_header(path)
        by_layer: Counter[int] = Counter()
        for tensor in place_tensors([header]):
            by_layer[tensor.layer] += tensor.size_bytes
        layers = [by_layer[layer] for layer in range(max(by_layer))]
        embeddings = next(tensor for tensor in header.tensors if tensor.name == "token_embd.weight")
        assert len(set(layers)) in {1, 2}
        assert by_layer[INPUT] == embeddings.size_bytes
        tied = embeddings.size_bytes if all(tensor.name != "output.weight" for tensor in header.tensors) else 0
        assert by_layer.total() == header.tensor_bytes + tied
