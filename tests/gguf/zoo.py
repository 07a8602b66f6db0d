"""A zoo: a toy model of every architecture of llama.cpp, made by asking its loader what it misses.

A file has the keys that the loader demands and the tensors it looks for, with zeros as weights. Only the sizes matter:
nothing is computed with them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import gguf
import numpy as np

from tests.reliability.toys import TOKENS
from workbench.gguf.memory import CacheSettings

LAYERS, WIDTH = 4, 256
MOST_STEPS = 600
_UNKNOWN = (1,)
"""The shape of a tensor whose shape the loader has not asked for yet."""

Key = bool | int | float | str | list[int] | list[float] | list[bool]
COMMON: Mapping[str, Key] = {
    "context_length": 8192, "embedding_length": WIDTH, "block_count": LAYERS, "feed_forward_length": 512,
    "attention.head_count": 4, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.layer_norm_epsilon": 1e-5, "vocab_size": len(TOKENS),
}  # fmt: skip
DEMANDED: Mapping[str, Key] = {
    "rope.dimension_count": 64, "rope.freq_base": 1e4, "rope.dimension_sections": [8, 12, 12, 0], "expert_count": 8,
    "expert_used_count": 2, "expert_feed_forward_length": 128, "expert_shared_count": 1,
    "expert_shared_feed_forward_length": 128, "leading_dense_block_count": 1, "moe_every_n_layers": 2,
    "interleave_moe_layer_step": 2, "expert_weights_scale": 1.0, "expert_gating_func": 2, "expert_group_count": 1,
    "expert_group_used_count": 1, "expert_chunk_feed_forward_length": 64, "experts_per_group": 2,
    "attention.key_length": 64, "attention.value_length": 64, "attention.q_lora_rank": 96, "attention.kv_lora_rank": 64,
    "attention.sliding_window": 300, "attention.group_norm_epsilon": 1e-5, "attention.group_norm_groups": 8,
    "attention.indexer.head_count": 4, "attention.indexer.key_length": 64, "attention.indexer.top_k": 128,
    "attention.indexer.block_size": 64, "attention.key_length_mla": 96, "attention.value_length_mla": 64,
    "attention.decay_lora_rank": 32, "attention.iclr_lora_rank": 32, "attention.value_residual_mix_lora_rank": 32,
    "attention.gate_lora_rank": 32, "time_mix_extra_dim": 32, "time_decay_extra_dim": 32, "expert_weights_norm": True,
    "use_parallel_residual": True, "expert_group_scale": 1.0, "attention.relative_buckets_count": 32, "xielu.alpha_n":
    [0.8] * LAYERS, "xielu.alpha_p": [0.8] * LAYERS, "xielu.beta": [0.5] * LAYERS, "xielu.eps": [1e-6] * LAYERS,
    "hyper_connection.count": 4, "attention.sliding_window_pattern": [True, True, True, False], "ssm.conv_kernel": 4,
    "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 16, "ssm.group_count": 2, "wkv.head_size": 64,
    "shortconv.l_cache": 3, "logit_scale": 1.0, "residual_scale": 1.0, "embedding_scale": 1.0, "attention.scale": 1.0,
    "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0, "kda.head_dim": 64, "attention.layer_indices": [0],
    "features_length": 64, "posnet.embedding_length": 64, "posnet.block_count": 1, "convnext.embedding_length": 64,
    "convnext.block_count": 1, "swiglu_clamp_exp": [7.0] * LAYERS, "kda.gate_lower_bound": -1.0,
    "attention.output_group_count": 2, "attention.output_lora_rank": 64, "attention.compress_rope_freq_base": 1e4,
    "hyper_connection.sinkhorn_iterations": 2, "hyper_connection.epsilon": 1e-6, "hyper_connection.magnitude": 1.0,
    "hyper_connection.low_rank": 32, "hash_layer_count": 1, "attention.kv_lora_rank_swa": 64,
    "attention.key_length_mla_swa": 96, "attention.value_length_mla_swa": 64, "rope.freq_base_swa": 1e4,
    "attention.indexer.types": [True] * LAYERS, "attention.key_length_swa": 64, "attention.value_length_swa": 64,
    "attention.indexer.kpool": 4, "adapters.lora_rank": 8, "hrm.h_cycles": 2, "hrm.l_cycles": 1, "attn_res.block_size":
    2, "activation.situ_beta": 1.0, "activation.situ_linear_beta": 1.0, "attention.indexer.local_blocks": 1,
    "embedding_length_per_layer_input": 64, "attention.clamp_kqv": 8.0, "attention.max_alibi_bias": 8.0,
}  # fmt: skip
"""Values of keys that a loader may demand."""
EXPERTS: Mapping[str, Key] = {"expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": 128}
_MIXTURES = (
    "afmoe", "arctic", "bailingmoe", "bailingmoe2", "bailingmoe3", "cohere2moe", "dbrx", "deepseek", "deepseek2",
    "deepseek2-ocr", "deepseek32", "deepseek4", "dots1", "dots3note", "ernie4_5-moe", "exaone-moe", "glm-dsa",
    "glm4moe", "glm5-next", "gpt-oss", "granitemoe", "grok", "grovemoe", "hunyuan-moe", "hy_v3", "hy_v4", "kimi-k3",
    "kimi-linear", "laguna", "lfm2moe", "llada-moe", "llama4", "maple", "mellum", "mimo2", "minimax-01", "minimax-m2",
    "minimax-m3", "mistral4", "nemotron_h_moe", "nomic-bert-moe", "olmoe", "phimoe", "qwen2moe", "qwen35moe",
    "qwen3moe", "qwen3next", "qwen3vlmoe", "qwen4exp", "rnd1", "smallthinker", "step35",
)  # fmt: skip
_LATENT: Mapping[str, Key] = {
    "attention.key_length": 96, "attention.value_length": 64, "attention.key_length_mla": 96,
    "attention.value_length_mla": 64, "attention.head_count_kv": 1, "attention.kv_lora_rank": 64,
    "rope.dimension_count": 32,
}  # fmt: skip
"""Latent attention (MLA)."""
_LATENTS = (
    "bailingmoe3", "deepseek2", "deepseek32", "dots3note", "glm-dsa", "glm5-next", "hy_v4", "kimi-k3", "kimi-linear",
    "mistral4",
)  # fmt: skip
_WINDOWS: Mapping[str, Key] = {
    "attention.sliding_window": 300, "attention.sliding_window_pattern": [True, True, True, False],
}  # fmt: skip
_WINDOWED = ("gemma4", "granite_swa", "maple", "mimo2", "spark2_5", "step35")
_ATTENTION_LAST: Mapping[str, Key] = {"attention.head_count_kv": [0, 0, 0, 2]}
"""Recurrent layers, and attention in the last one."""
_RECURRENT_FIRST = ("granitehybrid", "jamba", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe", "plamo2")


def _same(architectures: Sequence[str], keys: Mapping[str, Key]) -> dict[str, Mapping[str, Key]]:
    return {architecture: keys for architecture in architectures}


_MORE_HEADS: Mapping[str, Key] = {"attention.head_count_kv": 4}
_LATENT_WIDTHS: Mapping[str, Key] = {
    "attention.key_length": 96, "attention.value_length": 64, "rope.dimension_count": 32, "attention.head_count_kv": 4
}  # fmt: skip
_OWN: Mapping[str, Mapping[str, Key]] = {
    **_same(("chameleon", "olmoe"), _MORE_HEADS),
    **_same(("minicpm3", "plm"), _LATENT_WIDTHS),
    **_same(("arwkv7", "rwkv6qwen2"), {"token_shift_count": 1}),
    **_same(
        ("afmoe", "dots1", "hy_v3", "hy_v4", "minimax-m2", "smallthinker", "step35", "mimo2"), {"expert_gating_func": 2}
    ),
    "deepseek2-ocr": {"attention.head_count_kv": 4, "rope.dimension_count": 64},
    "deepseek4": {
        "attention.key_length": 64, "attention.head_count_kv": 1, "attention.compress_ratios": [0, 4, 128, 4],
        "expert_gating_func": 4, "hyper_connection.count": 4, "hash_layer_count": 0,
    },
    **_same(("qwen35", "qwen35moe", "qwen3next", "qwen4exp"), {"ssm.state_size": 32}),
    "hrm_text": {"hrm.layers_per_stack": 1, "hrm.h_cycles": 2, "hrm.l_cycles": 1},
    "kimi-k3": {"attention.head_count_kv": [0, 0, 0, 1]},
    "minimax-m3": {"attention.indexer.head_count": 2},
    "plamo2": {"ssm.group_count": 0},
    "graniteswitch": {
        "adapters.count": 2, "adapters.token_ids_activate": [5, 6], "adapters.token_ids_substitute": [7, 8],
    },
    "glm5-next": {"attention.head_count_kv": [0, 0, 0, 1], "hyper_connection.count": 4, "rope.dimension_count": 0},
    "bailingmoe3": {"attention.head_count_kv": [0, 0, 0, 1]},
    "kimi-linear": {"attention.head_count_kv": [0, 0, 0, 1]},
    "nemotron_h": {"feed_forward_length": [0, 512, 0, 0], "attention.head_count_kv": [0, 0, 0, 2]},
    "nemotron_h_moe": {"feed_forward_length": [0, 512, 0, 0], "attention.head_count_kv": [0, 0, 0, 2]},
}  # fmt: skip
_EXPERT_TENSORS = tuple(f"ffn_{part}.weight" for part in ("gate_inp", "gate_exps", "up_exps", "down_exps"))
_INDEXER_TENSORS = tuple(
    f"indexer.{part}" for part in ("k_norm.weight", "k_norm.bias", "proj.weight", "attn_k.weight", "attn_q_b.weight")
)
_OFFERED: Mapping[str, Sequence[str]] = {
    "falcon-h1": ("ssm_norm.weight", "ssm_conv1d.bias"),
    "phi3": ("attn_qkv.weight",),
    **dict.fromkeys(("granitehybrid", "nemotron_h"), ("ssm_conv1d.bias",)),
    **dict.fromkeys(("qwen35", "qwen35moe", "qwen3next", "qwen4exp"), ("attn_qkv.weight", "attn_gate.weight")),
    **dict.fromkeys(("glm-dsa", "dots3note", "hy_v4"), _INDEXER_TENSORS),
    **dict.fromkeys(("hy_v3", "mimo2", "step35"), _EXPERT_TENSORS),
}
"""Tensors that the loader takes without demanding them, but the graph needs."""


def own_keys(architecture: str) -> dict[str, Key]:
    """The keys that make the toy one of its architecture, beside those that its loader demands."""
    return {
        **COMMON,
        **(EXPERTS if architecture in _MIXTURES else {}),
        **(_LATENT if architecture in _LATENTS else {}),
        **(_WINDOWS if architecture in _WINDOWED else {}),
        **(_ATTENTION_LAST if architecture in _RECURRENT_FIRST else {}),
        **_OWN.get(architecture, {}),
    }


def write(path: Path, architecture: str, keys: Mapping[str, Key], tensors: Mapping[str, Sequence[int]]) -> None:
    """Write a file whose weights are zeros, which take no room on the disk."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in keys.items():
        full = name if "tokenizer." in name or "general." in name else f"{architecture}.{name}"
        match value:
            case bool():
                writer.add_bool(full, value)
            case int():
                writer.add_uint32(full, value)
            case float():
                writer.add_float32(full, value)
            case str():
                writer.add_string(full, value)
            case _:
                writer.add_array(full, value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(["Ġ t"])
    writer.add_eos_token_id(2)
    writer.add_token_type_count(2)
    for name, shape in tensors.items():
        size = int(np.prod(shape)) * 4
        writer.add_tensor_info(name, tuple(reversed(shape)), np.dtype(np.float32), size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    total = sum(-(-int(np.prod(shape)) * 4 // 32) * 32 for shape in tensors.values())
    with path.open("r+b") as file:
        file.truncate(-(-path.stat().st_size // 32) * 32 + total)


def as_asked(settings: CacheSettings) -> dict[str, object]:
    """The settings of a context for `Loader.ask`."""
    return {
        "n_ctx": settings.n_ctx,
        "ubatch": settings.ubatch,
        "type": settings.type_k,
        "full_window": settings.full_window,
        "flash_attention": settings.flash_attention,
    }


class Loader:
    """A process in which llama.cpp loads models; started again where it ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def ask(self, path: Path, settings: Sequence[Mapping[str, object]] = ()) -> dict[str, Any]:
        """The sizes of the buffers by purpose in MiB, or the error."""
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.gguf.zoo_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"path": str(path), "settings": list(settings)}) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
        if not line:
            child.wait()
            return {"error": f"ended with {child.returncode}"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def make(path: Path, architecture: str, loader: Loader) -> str:
    """Write the toy of an architecture to `path`; returns why it cannot be loaded, empty where it can."""
    toy = _Toy(architecture)
    for _ in range(MOST_STEPS):
        write(path, architecture, toy.keys, toy.tensors)
        error = str(loader.ask(path).get("error", ""))
        if not error or not toy.mend(error):
            return error
    return "too many steps"


_IN_LAYER = re.compile(r"blk\.(\d+)\.(.+)")


class _Toy:
    """The keys and the tensors of a toy, which grow by what the loader misses."""

    def __init__(self, architecture: str) -> None:
        self._prefix = re.escape(architecture)
        self.keys = own_keys(architecture)
        self._offered = {f"blk.{layer}.{name}" for name in _OFFERED.get(architecture, ()) for layer in range(LAYERS)}
        self.tensors: dict[str, Sequence[int]] = {"token_embd.weight": (WIDTH, len(TOKENS))}
        self.tensors |= dict.fromkeys(self._offered, _UNKNOWN)

    def mend(self, error: str) -> bool:
        """Add what an error of the loader asks for. False where that is not known."""
        if match := re.search(rf"key not found in model: {self._prefix}\.(\S+)", error):
            key = match[1]
            if key in self.keys or key not in DEMANDED:
                return False
            self.keys[key] = DEMANDED[key]
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
