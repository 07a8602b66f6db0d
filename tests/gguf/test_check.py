from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from tests.gguf.reading import refusal_to_load
from workbench.gguf.check import check_loadable


def test_the_demo_model_passes(demo_path: Path) -> None:
    (header,) = check_loadable(demo_path)
    assert header.path == str(demo_path)


def test_a_tiny_model_passes(tiny_model: Path) -> None:
    check_loadable(tiny_model)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({".block_count": 0}, "0 layers"),
        ({".block_count": 513}, "513 layers"),
        ({".nextn_predict_layers": 3}, "next-token prediction"),
        ({".expert_count": 1025, ".expert_used_count": 2}, "1025 experts"),
        ({".expert_count": 8, ".expert_used_count": 9}, "9 of its 8 experts"),
        ({".expert_count": 8}, "0 of its 8 experts"),
        ({".expert_used_count": 2}, "2 of its 0 experts"),
        ({".expert_count": 8, ".expert_used_count": 2, ".expert_group_count": 8}, "8 groups"),
        ({".expert_count": 8, ".expert_used_count": 2, ".expert_group_count": 3}, "of 3 groups"),
        ({".expert_count": 8, ".expert_used_count": 2, ".expert_group_count": 4}, "0 of 4 groups"),
        ({".rope.scaling.type": "spiral"}, "spiral"),
        ({".rope.dimension_count": 7}, "rotates 7"),
        ({".rope.dimension_count": 18}, "rotates 18"),
        ({".rope.dimension_count": 0}, "rotates 0"),
        ({".rope.dimension_count_swa": 0}, "rotates 0"),
        ({".attention.head_count_kv": 3}, "not a multiple of its 3 KV heads"),
        ({".attention.value_length": 32}, "keys of 16 dimensions and values of 32"),
        ({".rope.dimension_count": 8}, "llama rotates all"),
        ({".full_attention_interval": 0}, "full_attention_interval' is 0"),
        ({".attention.layer_norm_epsilon": -1.0}, "layer_norm_epsilon' is -1.0"),
        ({".attention.layer_norm_epsilon": math.nan}, "layer_norm_epsilon' is nan"),
        ({"general.type": "adapter"}, "LoRA adapter"),
        ({"general.type": "imatrix"}, "importance matrix"),
        ({"general.type": "mmproj"}, "vision or audio"),
    ],
    ids=str,
)
def test_values_that_llama_cpp_asserts_on(tmp_path: Path, model_writer, keys, said: str) -> None:
    path = tmp_path / "m.gguf"
    there = {".block_count", ".attention.head_count_kv"}
    model_writer(path, keys={key: value for key, value in keys.items() if key not in there})
    for key in there & keys.keys():
        overwrite_u32(path, f"llama{key}", keys[key])
    assert said in refusal_to_load(path).message


def overwrite_u32(path: Path, key: str, value: int) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(key.encode()) + len(key)
    assert struct.unpack_from("<I", content, place) == (4,)
    struct.pack_into("<I", content, place + 4, value)
    path.write_bytes(content)


def test_an_architecture_must_be_named(tmp_path: Path, raw) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file([], [raw.tensor("t")], data=b"\0" * 128))
    assert "general.architecture" in refusal_to_load(path).message


def test_a_vision_part_is_named_as_such(tmp_path: Path, raw) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file([raw.string("general.architecture", "clip")], [raw.tensor("t")], data=b"\0" * 128))
    assert "vision or audio" in refusal_to_load(path).message


def test_a_vocabulary_alone_is_not_a_model(tmp_path: Path, raw) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file([raw.string("general.architecture", "llama")]))
    assert "no weights" in refusal_to_load(path).message


def test_a_missing_layer_count(tmp_path: Path, raw) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file([raw.string("general.architecture", "llama")], [raw.tensor("t")], data=b"\0" * 128))
    assert "number of layers is missing" in refusal_to_load(path).message


@pytest.mark.parametrize(("used", "said"), [([2, 0], "layer 1 has experts"), ([2, 1], ""), ([0, 2], "layer 0 has")])
def test_a_layer_with_experts_that_uses_none(tmp_path: Path, raw, used: list[int], said: str) -> None:
    """A layer without a router may use none."""
    keys = [
        raw.string("general.architecture", "qwen3moe"),
        raw.u32("qwen3moe.block_count", 2),
        raw.u32("qwen3moe.expert_count", 4),
        raw.array("qwen3moe.expert_used_count", raw.INT32, 2, struct.pack("<2i", *used)),
    ]
    path = tmp_path / "m.gguf"
    names = ["blk.0.ffn_gate_inp.weight", "blk.1.ffn_gate_inp.weight"]
    for count in (1, 2):
        tensors = [raw.tensor(name, (32,), 0, 128 * index) for index, name in enumerate(names[:count])]
        path.write_bytes(raw.file(keys, tensors, data=bytes(128 * count)))
        if said and said[6] < str(count):
            assert said in refusal_to_load(path).message
        else:
            check_loadable(path)


def test_windows_without_a_layer_that_uses_them(tmp_path: Path, model_writer) -> None:
    keys = {".attention.sliding_window": 64, ".attention.sliding_window_pattern": 1}
    path = model_writer(tmp_path / "m.gguf", architecture="gemma2", keys=keys)
    assert "sliding window" in refusal_to_load(path).message


def with_changed_tensor_type(model: Path, path: Path, name: str, kind: int) -> Path:
    content = bytearray(model.read_bytes())
    place = content.index(struct.pack("<Q", len(name)) + name.encode()) + 8 + len(name)
    (dimensions,) = struct.unpack_from("<I", content, place)
    struct.pack_into("<I", content, place + 4 + 8 * dimensions, kind)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("alignment", [1, 2, 4, 8, 16, 32, 64, 4096])
def test_tensors_must_be_aligned_as_ggml_maps_them(tmp_path: Path, raw, alignment: int) -> None:
    """With a smaller alignment some are aligned by chance; ggml aborts for the first one of a buffer that is not."""
    keys = [raw.string("general.architecture", "llama"), raw.u32("general.alignment", alignment)]
    step = max(alignment, 4)
    tensors = [raw.tensor(name, (1,), 0, step * index) for index, name in enumerate("abc")]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file(keys, tensors, data=bytes(3 * step), alignment=alignment))
    aligned = "number of layers is missing"
    assert (aligned if alignment >= 32 else "not aligned to 32 bytes") in refusal_to_load(path).message


def test_norms_must_be_f32(tmp_path: Path, tiny_model: Path) -> None:
    """I32 has the size of F32, so that the offsets stay right."""
    path = with_changed_tensor_type(tiny_model, tmp_path / "m.gguf", "output_norm.weight", 26)
    assert "computes it as F32" in refusal_to_load(path).message


def test_types_that_are_none_for_weights(tmp_path: Path, raw) -> None:
    keys = [raw.string("general.architecture", "llama")]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file(keys, [raw.tensor("w", (32,), 9)], data=b"\0" * 64))
    assert "Q8_1" in refusal_to_load(path).message


@pytest.mark.parametrize("kind", [9, 15, 24, 25, 26, 27, 28], ids=["Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"])
@pytest.mark.parametrize("name", ["blk.0.attn_q.weight", "token_embd.weight", "blk.0.ffn_down_exps.weight"])
def test_types_that_the_graph_cannot_multiply(tmp_path: Path, raw, name: str, kind: int) -> None:
    path = tmp_path / "m.gguf"
    keys = [raw.string("general.architecture", "llama")]
    path.write_bytes(raw.file(keys, [raw.tensor(name, (256,), kind)], data=b"\0" * 2048))
    assert "cannot hold weights" in refusal_to_load(path).message


@pytest.mark.parametrize("name", ["shortconv.conv.weight", "post_ffw_norm_1.weight", "time_mix_lerp_fused.weight"])
def test_tensors_of_elementwise_operations_must_be_f32(tmp_path: Path, raw, name: str) -> None:
    path = tmp_path / "m.gguf"
    keys = [raw.string("general.architecture", "llama")]
    path.write_bytes(raw.file(keys, [raw.tensor(f"blk.0.{name}", (32,), 1)], data=b"\0" * 128))
    assert "computes it as F32" in refusal_to_load(path).message


@pytest.mark.parametrize(("kind", "said"), [(26, "number of layers is missing"), (0, "it holds indices")])
def test_a_table_of_indices_must_be_i32(tmp_path: Path, raw, kind: int, said: str) -> None:
    path = tmp_path / "m.gguf"
    keys = [raw.string("general.architecture", "deepseek4")]
    path.write_bytes(raw.file(keys, [raw.tensor("blk.0.ffn_gate_tid2eid.weight", (32,), kind)], data=b"\0" * 128))
    assert said in refusal_to_load(path).message


def test_a_step_of_zero_between_layers_with_experts(tmp_path: Path, model_writer) -> None:
    """llama.cpp divides by it for one architecture only, and writes 0 for all others."""
    keys = {".interleave_moe_layer_step": 0}
    for architecture in ("llama", "qwen2"):
        check_loadable(model_writer(tmp_path / f"{architecture}.gguf", architecture=architecture, keys=keys))
    path = model_writer(tmp_path / "m.gguf", architecture="ernie4_5-moe", keys=keys)
    assert "interleave_moe_layer_step' is 0" in refusal_to_load(path).message


def test_a_file_that_llama_cpp_wrote_is_taken(tmp_path: Path, tiny_model: Path) -> None:
    import llama_cpp

    model = llama_cpp.llama_model_load_from_file(str(tiny_model).encode(), llama_cpp.llama_model_default_params())
    llama_cpp.llama_model_save_to_file(model, str(tmp_path / "saved.gguf").encode())
    llama_cpp.llama_model_free(model)
    check_loadable(tmp_path / "saved.gguf")


@pytest.mark.parametrize(
    ("architecture", "keys", "said"),
    [
        ("qwen3moe", {"rope.dimension_count": 32}, "qwen3moe rotates all"),
        ("phi3", {"rope.dimension_count": 32}, ""),
        ("phi3", {"attention.value_length": 32}, "phi3 has one width"),
        ("gemma2", {"attention.value_length": 32}, ""),
        ("lfm2", {"rope.dimension_count": 0, "shortconv.l_cache": 3}, "rotates 0"),
        ("jamba", {"rope.dimension_count": 0}, ""),
        ("lfm2", {"shortconv.l_cache": 1}, "'lfm2.shortconv.l_cache' is below 2"),
        ("smallthinker", {}, "'smallthinker.expert_count' is below 1"),
        ("rwkv7", {}, ""),
        ("rwkv7", {"token_shift_count": 1}, "instead of 2"),
    ],
    ids=str,
)
def test_what_the_graph_of_an_architecture_asserts(tmp_path: Path, raw, architecture: str, keys, said: str) -> None:
    values = {"block_count": 1, "embedding_length": 64, "attention.head_count": 1, **keys}
    written = [raw.u32(f"{architecture}.{key}", value) for key, value in values.items()]
    path = tmp_path / "m.gguf"
    head = raw.string("general.architecture", architecture)
    path.write_bytes(raw.file([head, *written], [raw.tensor("t")], data=bytes(128)))
    if said:
        assert said in refusal_to_load(path).message
    else:
        check_loadable(path)


@pytest.mark.parametrize(
    ("sections", "sound"), [(None, False), ([0, 0, 0, 32], False), ([], False), ([8, 12, 12, 0], True)]
)
def test_rope_in_sections(tmp_path: Path, raw, sections: list[int] | None, sound: bool) -> None:
    values = {"block_count": 1, "embedding_length": 64, "attention.head_count": 1}
    keys = [raw.u32(f"paddleocr.{key}", value) for key, value in values.items()]
    if sections is not None:
        packed = struct.pack(f"<{len(sections)}i", *sections)
        keys.append(raw.array("paddleocr.rope.dimension_sections", raw.INT32, len(sections), packed))
    path = tmp_path / "m.gguf"
    path.write_bytes(
        raw.file([raw.string("general.architecture", "paddleocr"), *keys], [raw.tensor("t")], data=bytes(128))
    )
    if sound:
        check_loadable(path)
    else:
        assert "its RoPE has no sections" in refusal_to_load(path).message


@pytest.mark.parametrize(("architecture", "sound"), [("olmo2", False), ("mamba", True)])
def test_attention_without_heads(tmp_path: Path, raw, architecture: str, sound: bool) -> None:
    keys = [raw.u32(f"{architecture}.{key}", value) for key, value in (("block_count", 1), ("attention.head_count", 0))]
    path = tmp_path / "m.gguf"
    head = raw.string("general.architecture", architecture)
    path.write_bytes(raw.file([head, *keys], [raw.tensor("blk.0.attn_norm.weight")], data=bytes(128)))
    if sound:
        check_loadable(path)
    else:
        assert "no attention heads" in refusal_to_load(path).message


@pytest.mark.parametrize("width", [32, 48])
def test_vectors_that_are_not_as_wide_as_the_heads(tmp_path: Path, model_writer, width: int) -> None:
    keys = {".attention.value_length": width}
    path = model_writer(tmp_path / "m.gguf", architecture="gemma2", keys=keys)
    assert f"has V vectors of 32 dimensions instead of {2 * width}" in refusal_to_load(path).message


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["q", "k"], ""),
        (["qkv"], ""),
        (["q_a", "kv_a_mqa"], ""),
        (["q", "kv_a_mqa"], ""),
        ([], "queries"),
        (["k"], "queries"),
        (["q"], "keys"),
        (["q_norm", "k"], "queries"),
    ],
    ids=str,
)
def test_attention_without_its_matrices(tmp_path: Path, raw, names: list[str], said: str) -> None:
    keys = [
        raw.string("general.architecture", "phi3"),
        *(raw.u32(f"phi3.{key}", 32) for key in ("embedding_length", "attention.key_length", "rope.dimension_count")),
        raw.u32("phi3.block_count", 1),
        raw.u32("phi3.attention.head_count", 1),
    ]
    tensors = [
        raw.tensor(f"blk.0.attn_{name}.weight", (32, 32), 0, 4096 * index)
        for index, name in enumerate(["output", *names])
    ]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw.file(keys, tensors, data=bytes(4096 * len(tensors))))
    if said:
        assert f"no matrix for the {said}" in refusal_to_load(path).message
    else:
        check_loadable(path)
