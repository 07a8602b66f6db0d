"""A zoo: a toy model of every architecture of llama.cpp, made by asking its loader what it misses.

A file has the keys that the loader demands and the tensors it looks for, with zeros as weights. Only the sizes matter:
nothing is computed with them.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.gguf.conftest import RawGguf

MOST_STEPS = 600
_UNPREFIXED = ("tokenizer.", "general.", "xielu.")
_RAW = RawGguf()
_UNKNOWN = (1,)
"""The shape of a tensor whose shape the loader has not asked for yet."""

Key = bool | int | float | str | list[int] | list[float] | list[bool]
Keys = Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a toy."""

    width: int = 256
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    """The width of a head."""
    feed: int = 512
    vocab: int = 260
    experts: int = 8
    used: int = 2
    expert_feed: int = 128
    layers: int = 4


SMALL = Shape()


def common(shape: Shape) -> Keys:
    """The keys of every toy."""
    return {
        "context_length": 8192, "embedding_length": shape.width, "block_count": shape.layers,
        "feed_forward_length": shape.feed, "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads, "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.layer_norm_epsilon": 1e-5,
    }  # fmt: skip


def demanded(shape: Shape) -> Keys:
    """Values of keys that a loader may demand."""
    layers, head, expert_feed = shape.layers, shape.head, shape.expert_feed
    return {
        **_experts(shape), "rope.dimension_count": head, "rope.freq_base": 1e4, "rope.freq_base_swa": 1e4,
        "rope.dimension_sections": [head // 8, head * 3 // 16, head * 3 // 16, 0],
        "expert_shared_count": 1, "expert_shared_feed_forward_length": expert_feed, "leading_dense_block_count": 1,
        "moe_every_n_layers": 2, "interleave_moe_layer_step": 2, "expert_weights_scale": 1.0, "expert_gating_func": 2,
        "expert_group_count": 1, "expert_group_used_count": 1, "expert_chunk_feed_forward_length": expert_feed // 2,
        "experts_per_group": 2, "expert_weights_norm": True, "expert_group_scale": 1.0, "attention.key_length": head,
        "attention.value_length": head, "attention.q_lora_rank": shape.width * 3 // 8, "attention.kv_lora_rank": head,
        "attention.sliding_window": 300, "attention.sliding_window_pattern": [True, True, True, False],
        "attention.group_norm_epsilon": 1e-5, "attention.group_norm_groups": 8,
        "attention.indexer.head_count": shape.heads, "attention.indexer.key_length": head,
        "attention.indexer.top_k": 128, "attention.indexer.block_size": 64,
        "attention.indexer.types": [True, *[False] * (layers - 2), True],
        "attention.indexer.kpool": 4, "attention.indexer.local_blocks": 1, "attention.key_length_mla": head * 3 // 2,
        "attention.value_length_mla": head, "attention.key_length_mla_swa": head * 3 // 2,
        "attention.value_length_mla_swa": head, "attention.kv_lora_rank_swa": head, "attention.key_length_swa": head,
        "attention.value_length_swa": head, "attention.decay_lora_rank": 32, "attention.iclr_lora_rank": 32,
        "attention.value_residual_mix_lora_rank": 32, "attention.gate_lora_rank": 32, "time_mix_extra_dim": 32,
        "time_decay_extra_dim": 32, "use_parallel_residual": True, "attention.relative_buckets_count": 32,
        "xielu.alpha_n": [0.8] * layers, "xielu.alpha_p": [0.8] * layers, "xielu.beta": [0.5] * layers,
        "xielu.eps": [1e-6] * layers, "hyper_connection.count": 4, "hyper_connection.sinkhorn_iterations": 2,
        "hyper_connection.epsilon": 1e-6, "hyper_connection.magnitude": 1.0, "hyper_connection.low_rank": 32,
        "ssm.conv_kernel": 4, "ssm.inner_size": 2 * shape.width, "ssm.state_size": 16,
        "ssm.time_step_rank": shape.width // 16, "ssm.group_count": 2, "wkv.head_size": 64, "shortconv.l_cache": 3,
        "logit_scale": 1.0, "residual_scale": 1.0, "embedding_scale": 1.0, "attention.scale": 1.0,
        "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0, "kda.head_dim": head,
        "kda.gate_lower_bound": -1.0, "attention.layer_indices": [0], "features_length": 64,
        "posnet.embedding_length": 64, "posnet.block_count": 1, "convnext.embedding_length": 64,
        "convnext.block_count": 1, "swiglu_clamp_exp": [7.0] * layers, "attention.output_group_count": 2,
        "attention.output_lora_rank": 64, "attention.compress_rope_freq_base": 1e4, "hash_layer_count": 1,
        "adapters.lora_rank": 8, "hrm.h_cycles": 2, "hrm.l_cycles": 1, "attn_res.block_size": 2,
        "activation.situ_beta": 1.0, "activation.situ_linear_beta": 1.0, "embedding_length_per_layer_input": 64,
        "attention.clamp_kqv": 8.0, "attention.max_alibi_bias": 8.0,
    }  # fmt: skip


def _experts(shape: Shape) -> Keys:
    return {"expert_count": shape.experts, "expert_used_count": shape.used, "expert_feed_forward_length":
            shape.expert_feed}  # fmt: skip


_MIXTURES = (
    "afmoe", "arctic", "bailingmoe", "bailingmoe2", "bailingmoe3", "cohere2moe", "dbrx", "deepseek", "deepseek2",
    "deepseek2-ocr", "deepseek32", "deepseek4", "dots1", "dots3note", "ernie4_5-moe", "exaone-moe", "glm-dsa",
    "glm4moe", "glm5-next", "gpt-oss", "granitemoe", "grok", "grovemoe", "hunyuan-moe", "hy_v3", "hy_v4", "kimi-k3",
    "kimi-linear", "laguna", "lfm2moe", "llada-moe", "llama4", "maple", "mellum", "mimo2", "minimax-01", "minimax-m2",
    "minimax-m3", "mistral4", "nemotron_h_moe", "nomic-bert-moe", "olmoe", "phimoe", "qwen2moe", "qwen35moe",
    "qwen3moe", "qwen3next", "qwen3vlmoe", "qwen4exp", "rnd1", "smallthinker", "step35",
)  # fmt: skip
_LATENTS = (
    "bailingmoe3", "deepseek2", "deepseek32", "dots3note", "glm-dsa", "glm5-next", "hy_v4", "kimi-k3", "kimi-linear",
    "mistral4",
)  # fmt: skip
_WINDOWED = ("afmoe", "gemma4", "granite_swa", "maple", "mimo2", "spark2_5", "step35")
_ATTENTION_LAST = ("granitehybrid", "jamba", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe", "plamo2")
_DELTA_NETS = ("qwen35", "qwen35moe", "qwen3next", "qwen4exp")
_GATED = ("afmoe", "dots1", "hy_v3", "hy_v4", "minimax-m2", "smallthinker", "step35", "mimo2")
_LOW_RANKS = ("decay", "iclr", "value_residual_mix", "gate")
_EXPERT_TENSORS = tuple(f"ffn_{part}.weight" for part in ("gate_inp", "gate_exps", "up_exps", "down_exps"))
_INDEXER_TENSORS = tuple(
    f"indexer.{part}" for part in ("k_norm.weight", "k_norm.bias", "proj.weight", "attn_k.weight", "attn_q_b.weight")
)
_OFFERED: Mapping[str, Sequence[str]] = {
    "falcon-h1": ("ssm_norm.weight", "ssm_conv1d.bias"),
    "phi3": ("attn_qkv.weight",),
    "rwkv6": ("time_mix_lerp_fused.weight",),
    **dict.fromkeys(("granitehybrid", "nemotron_h", "nemotron_h_moe"), ("ssm_conv1d.bias",)),
    **dict.fromkeys(("qwen35", "qwen35moe", "qwen3next"), ("attn_qkv.weight", "attn_gate.weight")),
    **dict.fromkeys(("glm-dsa", "dots3note", "hy_v4"), _INDEXER_TENSORS),
    **dict.fromkeys(("hy_v3", "mimo2", "step35"), _EXPERT_TENSORS),
}
"""Tensors that the loader takes without demanding them, but the graph needs."""


def own_keys(architecture: str, shape: Shape) -> dict[str, Key]:
    """The keys that make the toy one of its architecture, beside those that its loader demands."""
    recurrent = [0] * (shape.layers - 1)
    latent: Keys = {
        "attention.key_length": shape.head * 3 // 2, "attention.value_length": shape.head,
        "rope.dimension_count": shape.head // 2,
    }  # fmt: skip
    whole: Keys = {"attention.head_count_kv": shape.heads}
    one_last: Keys = {"attention.head_count_kv": [*recurrent, 1]}
    forward: Keys = {
        "feed_forward_length": [0, shape.feed, *[0] * (shape.layers - 2)],
        "expert_shared_feed_forward_length": shape.expert_feed,
    }
    groups: Sequence[tuple[Sequence[str], Keys]] = (
        (_MIXTURES, _experts(shape)),
        (_LATENTS, latent),
        (_LATENTS, {
            "attention.key_length_mla": shape.head * 3 // 2, "attention.value_length_mla": shape.head,
            "attention.head_count_kv": 1, "attention.kv_lora_rank": shape.head,
        }),
        (_WINDOWED, {
            "attention.sliding_window": 300, "attention.sliding_window_pattern": [True, True, True, False],
        }),
        (_ATTENTION_LAST, {"attention.head_count_kv": [*recurrent, shape.kv_heads]}),
        (_DELTA_NETS, {"ssm.state_size": 32}),
        (("chameleon", "deepseek2-ocr", "dots1", "olmoe", "qwen"), whole),
        (("minicpm3", "plm"), latent),
        (("minicpm3", "plm"), whole),
        (("arwkv7", "rwkv6qwen2"), {"token_shift_count": 1}),
        (_GATED, {"expert_gating_func": 2}),
        (("kimi-k3", "bailingmoe3", "kimi-linear", "glm5-next"), one_last),
        (("nemotron_h", "nemotron_h_moe"), forward),
        (("deepseek4",), {
            "attention.key_length": shape.head, "attention.head_count_kv": 1, "expert_gating_func": 4,
            "attention.compress_ratios": [0, 4, 128, 4], "hyper_connection.count": 4, "hash_layer_count": 0,
        }),
        (("hrm_text",), {"hrm.layers_per_stack": 1, "hrm.h_cycles": 2, "hrm.l_cycles": 1}),
        (("glm5-next",), {"attention.key_length": shape.head, "hyper_connection.count": 4, "rope.dimension_count": 0}),
        (("qwen4exp",), {
            "expert_shared_feed_forward_length": shape.expert_feed, "attention.compress_ratios": [*recurrent, 4],
        }),
        (("minimax-m3",), {"attention.indexer.head_count": shape.kv_heads}),
        (("plamo2",), {"ssm.group_count": 0}),
        (("rwkv6",), {"attention.head_count_kv": shape.width // 64}),
        (("rwkv7",), {f"attention.{each}_lora_rank": 32 for each in _LOW_RANKS}),
        (("graniteswitch",), {
            "adapters.count": 2, "adapters.token_ids_activate": [5, 6], "adapters.token_ids_substitute": [7, 8],
        }),
    )  # fmt: skip
    found = dict(common(shape))
    for architectures, keys in groups:
        found |= keys if architecture in architectures else {}
    return found


def write(
    path: Path, architecture: str, keys: Mapping[str, Key], tensors: Mapping[str, Sequence[int]], vocab: int
) -> None:
    """Write a file whose weights are zeros, which take no room on the disk; the `vocab` tokens are only claimed."""
    own = [
        _RAW.key(name if name.startswith(_UNPREFIXED) else f"{architecture}.{name}", *_value(value))
        for name, value in keys.items()
    ]
    infos, end = [], 0
    for name, shape in tensors.items():
        infos.append(_RAW.tensor(name, shape, 0, end))
        end += -(-math.prod(shape) * 4 // 32) * 32
    named = _RAW.string("general.architecture", architecture)
    head = _RAW.file([named, *own, *_vocabulary(architecture, vocab)], infos)
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + end)


def _value(value: Key) -> tuple[int, bytes]:
    """The type of a value and its bytes."""
    match value:
        case bool():
            return _RAW.BOOL, struct.pack("<?", value)
        case int():
            return _RAW.UINT32, struct.pack("<I", value)
        case float():
            return _RAW.FLOAT32, struct.pack("<f", value)
        case str():
            return _RAW.STRING, _RAW.text(value)
    kind, code = (_RAW.BOOL, "?") if isinstance(value[0], bool) else (_RAW.INT32, "i")
    if isinstance(value[0], float):
        kind, code = _RAW.FLOAT32, "f"
    return _RAW.ARRAY, struct.pack(f"<IQ{len(value)}{code}", kind, len(value), *value)


def _vocabulary(architecture: str, size: int) -> list[bytes]:
    return [
        _RAW.string("tokenizer.ggml.model", "no_vocab"),
        _RAW.u32("tokenizer.ggml.token_type_count", 2),
        _RAW.u32(f"{architecture}.vocab_size", size),
    ]


_IMAGE_TOKENS = 8196
"""The least vocabulary of chameleon, whose graph suppresses the tokens of images."""


def make(path: Path, architecture: str, shape: Shape, load: Callable[[Path], str]) -> str:
    """Write the toy of an architecture to `path`; returns why it cannot be loaded, empty where it can.

    `load` has llama.cpp load a file, and returns its error.
    """
    if architecture == "chameleon":
        shape = replace(shape, vocab=max(shape.vocab, _IMAGE_TOKENS))
    toy = _Toy(architecture, shape)
    for _ in range(MOST_STEPS):
        write(path, architecture, toy.keys, toy.tensors, shape.vocab)
        error = load(path)
        if not error or not toy.mend(error):
            return error
    return "too many steps"


_IN_LAYER = re.compile(r"blk\.(\d+)\.(.+)")


class _Toy:
    """The keys and the tensors of a toy, which grow by what the loader misses."""

    def __init__(self, architecture: str, shape: Shape) -> None:
        self._prefix = re.escape(architecture)
        self.keys, self._demanded = own_keys(architecture, shape), demanded(shape)
        offered, layers = _OFFERED.get(architecture, ()), range(shape.layers)
        self._offered = {f"blk.{layer}.{name}" for name in offered for layer in layers}
        self.tensors: dict[str, Sequence[int]] = {"token_embd.weight": (shape.width, shape.vocab)}
        known = {"laguna": ("attn_gate", shape.heads), "jina-bert-v2": ("ffn_up", shape.feed)}.get(architecture)
        if known is not None:
            # The loader ends the process where they have another shape.
            self.tensors |= {f"blk.{layer}.{known[0]}.weight": (shape.width, known[1]) for layer in layers}
        self.tensors |= dict.fromkeys(self._offered, _UNKNOWN)

    def mend(self, error: str) -> bool:
        """Add what an error of the loader asks for. False where that is not known."""
        if match := re.search(rf"key not found in model: (?:{self._prefix}\.)?(\S+)", error):
            key = match[1]
            if key in self.keys or key not in self._demanded:
                return False
            self.keys[key] = self._demanded[key]
        elif match := re.search(r"tensor '(\S+)' has wrong shape; expected ([\d, ]+), got", error):
            self.tensors[match[1]] = tuple(map(int, re.findall(r"\d+", match[2])))
        elif match := re.search(r"(?:missing tensor|tensor) '(\S+?)'", error):
            return self._add(match[1])
        elif "wrong number of tensors" in error:
            idle = [name for name in self._offered if self.tensors.get(name) == _UNKNOWN]
            for name in idle:
                del self.tensors[name]
            return bool(idle)
        else:
            return False
        return True

    def _add(self, name: str) -> bool:
        if name in self.tensors:
            return False
        # It has most likely the shape of the same tensor in the layer before.
        match = _IN_LAYER.fullmatch(name)
        before = self.tensors.get(f"blk.{int(match[1]) - 1}.{match[2]}") if match else None
        self.tensors[name] = before or _UNKNOWN
        return True
