"""Small models of random weights: one of each kind of memory, with any pre-tokenizer rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import gguf
import numpy as np

from tests.gguf_files import finish

WIDTH, HEADS, HEAD, INNER, FEED = 64, 2, 32, 128, 96
STATE, KERNEL, RANK = 16, 4, 4
WINDOW = 32

MERGES = (
    "Ġ t", "h e", "Ġt he", "i n", "Ġ a", "a n", "Ġa n", "Ġan d", "e r", "o n", "Ġ o", "Ġo f", "Ċ Ċ", "Ġ Ġ", "ĠĠ ĠĠ",
    "1 2", "12 3", "a a", "aa aa", "= =", "== ==", ". .", "l e", "' s", "Ġ w", "o r", "Ġw or", "Ġwor d",
)  # fmt: skip


def _byte_letters() -> list[str]:
    """The letters by which byte-level BPE writes the bytes."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    rest = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(rest)) for byte in range(256)]


SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|a mark with spaces|>")
TOKENS = (*SPECIAL, *_byte_letters(), *(merge.replace(" ", "") for merge in MERGES))

RECURRENT = ("mamba", "jamba", "lfm2", "qwen35")
"""Architectures whose memory cannot drop the end of a sequence."""
FURTHER = ("mamba2", "falcon-h1", "lfm2 with a window")
"""Other graphs of the same kinds: one of each is enough for most tests."""
ARCHITECTURES = ("llama", "gemma3", *RECURRENT)

Tensors = Iterator[tuple[str, np.ndarray]]


class _Weights:
    """A source of random weights."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(3)

    def __call__(self, *shape: int, scale: float = 0.3) -> np.ndarray:
        return (self._random.standard_normal(shape) * scale).astype(np.float32)


def _ones(size: int = WIDTH) -> np.ndarray:
    return np.ones(size, np.float32)


def _attention(block: str, weights: _Weights, *, gated: bool = False, normed: bool = False) -> Tensors:
    yield f"{block}attn_q.weight", weights(WIDTH * (2 if gated else 1), WIDTH)
    for name in ("k", "v", "output"):
        yield f"{block}attn_{name}.weight", weights(WIDTH, WIDTH)
    if normed:
        yield f"{block}attn_q_norm.weight", _ones(HEAD)
        yield f"{block}attn_k_norm.weight", _ones(HEAD)


def _mamba(block: str, weights: _Weights, *, normed: bool = False) -> Tensors:
    yield f"{block}ssm_in.weight", weights(2 * INNER, WIDTH)
    yield f"{block}ssm_conv1d.weight", weights(INNER, KERNEL)
    yield f"{block}ssm_conv1d.bias", weights(INNER)
    yield f"{block}ssm_x.weight", weights(RANK + 2 * STATE, INNER)
    yield f"{block}ssm_dt.weight", weights(INNER, RANK)
    yield f"{block}ssm_dt.bias", weights(INNER)
    yield f"{block}ssm_a", -np.ones((INNER, STATE), np.float32)
    yield f"{block}ssm_d", _ones(INNER)
    yield f"{block}ssm_out.weight", weights(WIDTH, INNER)
    if normed:
        yield f"{block}ssm_dt_norm.weight", _ones(RANK)
        yield f"{block}ssm_b_norm.weight", _ones(STATE)
        yield f"{block}ssm_c_norm.weight", _ones(STATE)


def _mamba2(block: str, weights: _Weights) -> Tensors:
    yield f"{block}ssm_in.weight", weights(2 * INNER + 2 * STATE + RANK, WIDTH)
    yield f"{block}ssm_conv1d.weight", weights(INNER + 2 * STATE, KERNEL)
    yield f"{block}ssm_conv1d.bias", weights(INNER + 2 * STATE)
    yield f"{block}ssm_dt.bias", weights(RANK)
    yield f"{block}ssm_a", -np.ones((RANK, 1), np.float32)
    yield f"{block}ssm_d", np.ones((RANK, 1), np.float32)
    yield f"{block}ssm_norm.weight", _ones(INNER)
    yield f"{block}ssm_out.weight", weights(WIDTH, INNER)


def _short_convolution(block: str, weights: _Weights) -> Tensors:
    yield f"{block}shortconv.conv.weight", weights(WIDTH, KERNEL)
    yield f"{block}shortconv.in_proj.weight", weights(3 * WIDTH, WIDTH)
    yield f"{block}shortconv.out_proj.weight", weights(WIDTH, WIDTH)


def _delta_net(block: str, weights: _Weights) -> Tensors:
    key = value = STATE * RANK
    yield f"{block}attn_qkv.weight", weights(2 * key + value, WIDTH)
    yield f"{block}attn_gate.weight", weights(value, WIDTH)
    yield f"{block}ssm_conv1d.weight", weights(2 * key + value, KERNEL)
    yield f"{block}ssm_dt.bias", weights(RANK)
    yield f"{block}ssm_a", -_ones(RANK)
    yield f"{block}ssm_beta.weight", weights(RANK, WIDTH)
    yield f"{block}ssm_alpha.weight", weights(RANK, WIDTH)
    yield f"{block}ssm_norm.weight", _ones(STATE)
    yield f"{block}ssm_out.weight", weights(WIDTH, value)


def _layer(architecture: str, layer: int, weights: _Weights, feed: int) -> Tensors:
    block = f"blk.{layer}."
    yield f"{block}attn_norm.weight", _ones()
    match architecture, layer:
        case "mamba", _:
            yield from _mamba(block, weights)
            return
        case "mamba2", _:
            yield from _mamba2(block, weights)
            return
        case "falcon-h1", _:
            yield from _mamba2(block, weights)
            yield from _attention(block, weights)
        case "jamba", 0:
            yield from _mamba(block, weights, normed=True)
        case "lfm2", 0:
            yield from _short_convolution(block, weights)
        case "qwen35", 0:
            yield from _delta_net(block, weights)
        case _:
            normed = architecture in {"gemma3", "lfm2", "qwen35"}
            yield from _attention(block, weights, gated=architecture == "qwen35", normed=normed)
    if architecture != "qwen35":
        yield f"{block}ffn_norm{'' if architecture == 'falcon-h1' else '.weight'}", _ones()
    if architecture in {"gemma3", "qwen35"}:
        yield f"{block}post_attention_norm.weight", _ones()
    if architecture == "gemma3":
        yield f"{block}post_ffw_norm.weight", _ones()
    yield f"{block}ffn_gate.weight", weights(feed, WIDTH)
    yield f"{block}ffn_up.weight", weights(feed, WIDTH)
    yield f"{block}ffn_down.weight", weights(WIDTH, feed)


def _add_keys(writer: gguf.GGUFWriter, architecture: str, feed: int, *, windowed: bool = False) -> None:
    writer.add_name(f"Tiny {architecture}")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    attends = architecture not in {"mamba", "mamba2"}
    writer.add_feed_forward_length(feed if attends else 0)
    writer.add_head_count(HEADS if attends else 0)
    if architecture in {"jamba", "lfm2"}:
        writer.add_head_count_kv([0, HEADS])
    elif attends:
        writer.add_head_count_kv(HEADS)
    if architecture in {"gemma3", "qwen35"}:
        writer.add_key_length(HEAD)
        writer.add_value_length(HEAD)
    if architecture in {"mamba", "mamba2", "falcon-h1", "jamba", "qwen35"}:
        writer.add_ssm_conv_kernel(KERNEL)
        writer.add_ssm_inner_size(STATE * RANK if architecture == "qwen35" else INNER)
        writer.add_ssm_state_size(STATE)
        writer.add_ssm_time_step_rank(RANK)
    if architecture == "lfm2":
        writer.add_shortconv_l_cache(KERNEL)
    if architecture in {"mamba2", "falcon-h1"}:
        writer.add_ssm_group_count(1)
    if architecture == "gemma3" or windowed:
        writer.add_sliding_window(WINDOW)
    if architecture == "gemma3":
        writer.add_uint32("gemma3.attention.sliding_window_pattern", 2)
    if architecture == "qwen35":
        writer.add_ssm_group_count(RANK)
        writer.add_rope_dimension_count(HEAD)
        writer.add_rope_dimension_sections([8, 4, 4, 0])
        writer.add_uint32("qwen35.full_attention_interval", 2)


def write_toy(
    path: Path,
    kind: str = "llama",
    rule: str = "smollm",
    *,
    ends: bool = False,
    marks: Mapping[str, int] = MappingProxyType({}),
    feed: int = FEED,
) -> Path:
    """Write a model of two layers, whose vocabulary has the bytes and some merges.

    Its answers consist of small letters: read back, they give the same tokens. `ends` adds BOS and EOS to every text.
    `marks` are further tokens and their types, `feed` is the width of the feed-forward networks.
    """
    weights = _Weights()
    architecture, _, windowed = kind.partition(" with a ")
    writer = gguf.GGUFWriter(path, architecture)
    _add_keys(writer, architecture, feed, windowed=bool(windowed))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list([*TOKENS, *marks])
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)) + list(marks.values()))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(ends)
    writer.add_add_eos_token(ends)
    size = len(TOKENS) + len(marks)
    heads = np.zeros((size, WIDTH), np.float32)
    letters = [TOKENS.index(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
    heads[letters] = weights(len(letters), WIDTH, scale=1.0)
    writer.add_tensor("token_embd.weight", weights(size, WIDTH, scale=0.1))
    for layer in range(2):
        for name, data in _layer(architecture, layer, weights, feed):
            writer.add_tensor(name, data)
    writer.add_tensor("token_embd_norm.weight" if architecture == "lfm2" else "output_norm.weight", _ones())
    writer.add_tensor("output.weight", heads)
    finish(writer)
    return path
