from __future__ import annotations

import pytest

from workbench.gguf.family_checks import family_fault

DEEPSEEK = {
    "block_count": 2, "embedding_length": 64, "attention.head_count": 4, "attention.head_count_kv": 1,
    "attention.kv_lora_rank": 32, "attention.key_length": 48, "attention.value_length": 32,
    "attention.key_length_mla": 32, "attention.value_length_mla": 16, "rope.dimension_count": 16,
}  # fmt: skip
OLD_DEEPSEEK = {
    "block_count": 2, "embedding_length": 64, "attention.head_count": 4, "attention.head_count_kv": 4,
    "attention.kv_lora_rank": 32, "attention.key_length": 24, "attention.value_length": 16, "rope.dimension_count": 8,
}  # fmt: skip
EXPERTS = {"block_count": 2, "expert_count": 4}
FUSED = [f"blk.{layer}.time_mix_lerp_fused.weight" for layer in range(2)]
RWKV = {"block_count": 2, "embedding_length": 64, "attention.head_count": 0, "wkv.head_size": 16}


@pytest.mark.parametrize(
    ("architecture", "model", "change", "said"),
    [
        ("deepseek2", DEEPSEEK, {}, None),
        ("deepseek2", DEEPSEEK, {"attention.key_length": 80}, "latent keys"),
        ("deepseek2", DEEPSEEK, {"attention.key_length": None}, "latent keys"),
        ("deepseek32", DEEPSEEK, {"attention.kv_lora_rank": 31}, "latent keys"),
        ("deepseek2", DEEPSEEK, {"attention.head_count_kv": 2}, "2 KV heads"),
        ("glm-dsa", DEEPSEEK, {"attention.head_count_kv": None}, "4 KV heads"),
        ("deepseek2", DEEPSEEK, {"attention.key_length_mla": 16}, "leaves none"),
        ("mistral4", DEEPSEEK, {"rope.dimension_count": None}, "leaves none"),
        ("deepseek2", DEEPSEEK, {"attention.temperature_scale": 0.5}, "temperature"),
        ("deepseek2", DEEPSEEK, {"attention.temperature_scale": 0.5, "attention.temperature_length": 8192}, None),
        ("deepseek2", OLD_DEEPSEEK, {}, None),
        ("deepseek2", OLD_DEEPSEEK, {"rope.dimension_count": 24}, "leaves none"),
        ("rwkv6", RWKV, {}, None),
        ("rwkv6", RWKV, {"attention.head_count": 4}, None),
        ("rwkv6", RWKV, {"attention.head_count": 2}, "2 KV heads"),
        ("rwkv6", RWKV, {"token_shift_count": 3}, "instead of 2"),
        ("rwkv6qwen2", RWKV, {"attention.head_count": 4, "attention.head_count_kv": 2}, None),
        ("rwkv6qwen2", RWKV, {"attention.head_count": 4, "attention.head_count_kv": 3}, "3 KV heads"),
        ("rwkv6", RWKV, {"attention.head_count": 32}, "KV heads"),
        ("rwkv6", RWKV, {"attention.head_count": -1}, "KV heads"),
        ("rwkv7", RWKV, {"attention.head_count": 32}, None),
        ("rwkv7", RWKV, {"wkv.head_size": 0}, "heads of 0"),
        ("rwkv6", RWKV, {"wkv.head_size": 48}, "heads of 48"),
        ("llama", DEEPSEEK, {"attention.key_length": 80}, None),
        ("deepseek2", {**DEEPSEEK, **EXPERTS}, {"expert_gating_func": 5}, "number 5"),
        ("dots1", EXPERTS, {"expert_gating_func": 0}, "number 0"),
        ("qwen3moe", EXPERTS, {"expert_gating_func": 0}, None),
        ("lfm2moe", EXPERTS, {"expert_gating_func": 2}, None),
    ],
)
def test_numbers_that_a_graph_asserts(architecture: str, model: dict, change: dict, said: str | None) -> None:
    numbers = {name: value for name, value in {**model, **change}.items() if value is not None}
    fault = family_fault({f"{architecture}.{name}": value for name, value in numbers.items()}, architecture, FUSED)
    assert fault is None if said is None else said in fault


def test_each_layer_of_rwkv6_mixes_with_the_previous_token() -> None:
    metadata = {f"rwkv6.{name}": value for name, value in RWKV.items()}
    separate = [f"blk.1.time_mix_lerp_{name}.weight" for name in "wkvrg"]
    assert family_fault(metadata, "rwkv6", [FUSED[0], *separate]) is None
    assert "layer 1" in family_fault(metadata, "rwkv6", [FUSED[0], *separate[1:]])
    assert "layer 0" in family_fault(metadata, "rwkv6", FUSED[1:])
