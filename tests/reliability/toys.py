"""Tiny models with random weights, of architectures whose files and graphs differ much."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

from tests.gguf.conftest import write_model
from tests.gguf_files import finish

WIDTH, HEADS, FEED_FORWARD, LAYERS = 64, 4, 96, 2


def letters() -> list[str]:
    """The characters by which byte-level BPE writes the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(rest)) for byte in range(256)]


TOKENS = ["<|end|>", "<|im_start|>", "<|im_end|>", *letters(), "Ġt"]


class Toy:
    """Writes one model."""

    def __init__(self, path: Path, architecture: str, *, heads: int = HEADS, norm: str = "output_norm.weight") -> None:
        self.path, self._random = path, np.random.default_rng(0)
        self.writer = writer = gguf.GGUFWriter(path, architecture)
        writer.add_block_count(LAYERS)
        writer.add_context_length(512)
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(FEED_FORWARD)
        writer.add_head_count(heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_file_type(0)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(TOKENS)
        writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
        writer.add_token_merges(["Ġ t"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(False)
        self.weights("token_embd.weight", len(TOKENS), WIDTH)
        self.ones(norm)

    def weights(self, name: str, *shape: int) -> None:
        self.writer.add_tensor(name, (self._random.standard_normal(shape) * 0.05).astype(np.float32))

    def ones(self, name: str, width: int = WIDTH) -> None:
        self.writer.add_tensor(name, np.ones(width, np.float32))

    def attention(self, block: str, *, key_width: int = WIDTH, biased: bool = False) -> None:
        self.ones(f"{block}attn_norm.weight")
        for name, rows in (("q", WIDTH), ("k", key_width), ("v", key_width)):
            self.weights(f"{block}attn_{name}.weight", rows, WIDTH)
            if biased:
                self.weights(f"{block}attn_{name}.bias", rows)
        self.weights(f"{block}attn_output.weight", WIDTH, WIDTH)

    def normed_attention(self, block: str) -> None:
        """Attention whose queries and keys are normalized by head."""
        self.attention(block)
        self.ones(f"{block}attn_q_norm.weight", WIDTH // HEADS)
        self.ones(f"{block}attn_k_norm.weight", WIDTH // HEADS)

    def dense(self, block: str) -> None:
        self.ones(f"{block}ffn_norm.weight")
        self.weights(f"{block}ffn_gate.weight", FEED_FORWARD, WIDTH)
        self.weights(f"{block}ffn_up.weight", FEED_FORWARD, WIDTH)
        self.weights(f"{block}ffn_down.weight", WIDTH, FEED_FORWARD)

    def experts(self, block: str) -> None:
        self.ones(f"{block}ffn_norm.weight")
        self.weights(f"{block}ffn_gate_inp.weight", 4, WIDTH)
        self.weights(f"{block}ffn_gate_exps.weight", 4, 32, WIDTH)
        self.weights(f"{block}ffn_up_exps.weight", 4, 32, WIDTH)
        self.weights(f"{block}ffn_down_exps.weight", 4, WIDTH, 32)

    def done(self) -> Path:
        finish(self.writer)
        return self.path


def llama(path: Path) -> Path:
    return write_model(path, heads=4, kv_heads=2)


def gemma2(path: Path) -> Path:
    return write_model(path, architecture="gemma2", keys={".attention.sliding_window": 32})


def deci(path: Path) -> Path:
    return write_model(path, architecture="deci", heads=4, kv_heads=[4, 2], tied=False)


def qwen2(path: Path) -> Path:
    toy = Toy(path, "qwen2")
    toy.writer.add_head_count_kv(2)
    for layer in range(LAYERS):
        toy.attention(f"blk.{layer}.", key_width=WIDTH // 2, biased=True)
        toy.dense(f"blk.{layer}.")
    return toy.done()


def experts(path: Path) -> Path:
    """qwen3moe."""
    toy = Toy(path, "qwen3moe")
    toy.writer.add_head_count_kv(HEADS)
    toy.writer.add_key_length(WIDTH // HEADS)
    toy.writer.add_value_length(WIDTH // HEADS)
    toy.writer.add_expert_count(4)
    toy.writer.add_expert_used_count(2)
    toy.writer.add_expert_feed_forward_length(32)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        toy.normed_attention(block)
        toy.experts(block)
    return toy.done()


def phi3(path: Path) -> Path:
    toy = Toy(path, "phi3")
    toy.writer.add_head_count_kv(HEADS)
    toy.writer.add_rope_dimension_count(WIDTH // HEADS)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        toy.ones(f"{block}attn_norm.weight")
        toy.weights(f"{block}attn_qkv.weight", 3 * WIDTH, WIDTH)
        toy.weights(f"{block}attn_output.weight", WIDTH, WIDTH)
        toy.ones(f"{block}ffn_norm.weight")
        toy.weights(f"{block}ffn_up.weight", 2 * FEED_FORWARD, WIDTH)
        toy.weights(f"{block}ffn_down.weight", WIDTH, FEED_FORWARD)
    return toy.done()


def gpt2(path: Path) -> Path:
    toy = Toy(path, "gpt2")
    toy.writer.add_layer_norm_eps(1e-5)
    toy.ones("output_norm.bias")
    toy.weights("position_embd.weight", 512, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name, rows, width in (
            ("attn_qkv", 3 * WIDTH, WIDTH), ("attn_output", WIDTH, WIDTH), ("ffn_up", FEED_FORWARD, WIDTH),
            ("ffn_down", WIDTH, FEED_FORWARD),
        ):  # fmt: skip
            toy.weights(f"{block}{name}.weight", rows, width)
            toy.weights(f"{block}{name}.bias", rows)
        for name in ("attn_norm", "ffn_norm"):
            toy.ones(f"{block}{name}.weight")
            toy.ones(f"{block}{name}.bias")
    return toy.done()


def mamba(path: Path) -> Path:
    toy = Toy(path, "mamba", heads=0)
    inner, state, kernel, rank = 2 * WIDTH, 16, 4, 4
    toy.writer.add_ssm_conv_kernel(kernel)
    toy.writer.add_ssm_inner_size(inner)
    toy.writer.add_ssm_state_size(state)
    toy.writer.add_ssm_time_step_rank(rank)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        toy.ones(f"{block}attn_norm.weight")
        toy.weights(f"{block}ssm_in.weight", 2 * inner, WIDTH)
        toy.weights(f"{block}ssm_conv1d.weight", inner, kernel)
        toy.weights(f"{block}ssm_conv1d.bias", inner)
        toy.weights(f"{block}ssm_x.weight", rank + 2 * state, inner)
        toy.weights(f"{block}ssm_dt.weight", inner, rank)
        toy.weights(f"{block}ssm_dt.bias", inner)
        toy.weights(f"{block}ssm_a", inner, state)
        toy.ones(f"{block}ssm_d", inner)
        toy.weights(f"{block}ssm_out.weight", WIDTH, inner)
    return toy.done()


def lfm2(path: Path) -> Path:
    """A hybrid: a convolution in the first layer, attention in the second."""
    toy = Toy(path, "lfm2", norm="token_embd_norm.weight")
    toy.writer.add_head_count_kv([0, HEADS])
    toy.writer.add_shortconv_l_cache(3)
    toy.writer.add_vocab_size(len(TOKENS))
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        if layer == 0:
            toy.ones(f"{block}attn_norm.weight")
            toy.weights(f"{block}shortconv.conv.weight", WIDTH, 3)
            toy.weights(f"{block}shortconv.in_proj.weight", 3 * WIDTH, WIDTH)
            toy.weights(f"{block}shortconv.out_proj.weight", WIDTH, WIDTH)
        else:
            toy.normed_attention(block)
        toy.dense(block)
    return toy.done()


def rwkv6(path: Path) -> Path:
    toy = Toy(path, "rwkv6", heads=0)
    head, rank = 32, 8
    toy.writer.add_layer_norm_eps(1e-5)
    toy.writer.add_wkv_head_size(head)
    toy.writer.add_time_mix_extra_dim(rank)
    toy.writer.add_time_decay_extra_dim(rank)
    toy.weights("output.weight", len(TOKENS), WIDTH)
    toy.ones("output_norm.bias")
    toy.ones("token_embd_norm.weight")
    toy.ones("token_embd_norm.bias")
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            toy.ones(f"{block}{name}.weight")
            toy.ones(f"{block}{name}.bias")
        toy.weights(f"{block}time_mix_w1.weight", 5 * rank, WIDTH)
        toy.weights(f"{block}time_mix_w2.weight", 5, WIDTH, rank)
        toy.weights(f"{block}time_mix_lerp_fused.weight", 5, 1, 1, WIDTH)
        for name in ("time_mix_lerp_x", "channel_mix_lerp_k", "channel_mix_lerp_r"):
            toy.weights(f"{block}{name}.weight", 1, 1, WIDTH)
        toy.weights(f"{block}time_mix_first.weight", WIDTH // head, head)
        toy.weights(f"{block}time_mix_decay.weight", WIDTH)
        toy.weights(f"{block}time_mix_decay_w1.weight", rank, WIDTH)
        toy.weights(f"{block}time_mix_decay_w2.weight", WIDTH, rank)
        for name in ("key", "value", "receptance", "gate", "output"):
            toy.weights(f"{block}time_mix_{name}.weight", WIDTH, WIDTH)
        toy.weights(f"{block}channel_mix_key.weight", FEED_FORWARD, WIDTH)
        toy.weights(f"{block}channel_mix_value.weight", WIDTH, FEED_FORWARD)
        toy.weights(f"{block}channel_mix_receptance.weight", WIDTH, WIDTH)
    return toy.done()


def latent(path: Path) -> Path:
    """deepseek2: attention to latent vectors (MLA), a dense layer, and one with a shared expert."""
    toy = Toy(path, "deepseek2")
    rank, plain, rotated, value = 32, 16, 16, 16
    toy.writer.add_head_count_kv(1)
    toy.writer.add_rope_dimension_count(rotated)
    toy.writer.add_q_lora_rank(rank)
    toy.writer.add_kv_lora_rank(rank)
    toy.writer.add_key_length(rank + rotated)
    toy.writer.add_value_length(rank)
    toy.writer.add_key_length_mla(plain + rotated)
    toy.writer.add_value_length_mla(value)
    toy.writer.add_leading_dense_block_count(1)
    toy.writer.add_expert_count(4)
    toy.writer.add_expert_used_count(2)
    toy.writer.add_expert_shared_count(1)
    toy.writer.add_expert_feed_forward_length(32)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        toy.ones(f"{block}attn_norm.weight")
        toy.ones(f"{block}attn_q_a_norm.weight", rank)
        toy.ones(f"{block}attn_kv_a_norm.weight", rank)
        toy.weights(f"{block}attn_q_a.weight", rank, WIDTH)
        toy.weights(f"{block}attn_q_b.weight", HEADS * (plain + rotated), rank)
        toy.weights(f"{block}attn_kv_a_mqa.weight", rank + rotated, WIDTH)
        toy.weights(f"{block}attn_k_b.weight", HEADS, rank, plain)
        toy.weights(f"{block}attn_v_b.weight", HEADS, value, rank)
        toy.weights(f"{block}attn_output.weight", WIDTH, HEADS * value)
        if layer == 0:
            toy.dense(block)
            continue
        toy.experts(block)
        for name in ("gate", "up"):
            toy.weights(f"{block}ffn_{name}_shexp.weight", 32, WIDTH)
        toy.weights(f"{block}ffn_down_shexp.weight", WIDTH, 32)
    return toy.done()


TOYS: dict[str, Callable[[Path], Path]] = {
    each.__name__: each for each in (llama, gemma2, deci, qwen2, experts, phi3, gpt2, mamba, lfm2, rwkv6, latent)
}
