"""GGUF files for the tests: sound ones written by the `gguf` package, and broken ones put together byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.gguf_files import finish

ModelWriter = Callable[..., Path]


class RawGguf:
    """Builds the bytes of a GGUF file, with whatever lie a test needs."""

    UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 5, 6, 7, 8, 9, 10

    @staticmethod
    def text(value: str | bytes) -> bytes:
        raw = value.encode() if isinstance(value, str) else value
        return struct.pack("<Q", len(raw)) + raw

    def key(self, name: str | bytes, kind: int, payload: bytes) -> bytes:
        return self.text(name) + struct.pack("<I", kind) + payload

    def u32(self, name: str | bytes, value: int) -> bytes:
        return self.key(name, self.UINT32, struct.pack("<I", value))

    def string(self, name: str | bytes, value: str | bytes) -> bytes:
        return self.key(name, self.STRING, self.text(value))

    def array(self, name: str, kind: int, length: int, payload: bytes = b"") -> bytes:
        return self.key(name, self.ARRAY, struct.pack("<IQ", kind, length) + payload)

    def tensor(self, name: str | bytes, shape: Sequence[int] = (32,), kind: int = 0, offset: int = 0) -> bytes:
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        return self.text(name) + dims + struct.pack("<IQ", kind, offset)

    @staticmethod
    def file(
        keys: Sequence[bytes] = (),
        tensors: Sequence[bytes] = (),
        *,
        version: int = 3,
        key_count: int | None = None,
        tensor_count: int | None = None,
        data: bytes = b"",
        alignment: int = 32,
    ) -> bytes:
        counts = (
            len(tensors) if tensor_count is None else tensor_count,
            len(keys) if key_count is None else key_count,
        )
        head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
        return head + b"\0" * (-len(head) % alignment) + data


@pytest.fixture
def raw() -> RawGguf:
    return RawGguf()


def _write_vocabulary(writer: gguf.GGUFWriter, size: int) -> int:
    """A SentencePiece vocabulary with nothing but the byte tokens: the smallest that takes every text.

    Another size is only claimed, for models that are not asked anything.
    """
    if size:
        writer.add_tokenizer_model("no_vocab")
        writer.add_vocab_size(size)
        return size
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3, *[6] * 256])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    return len(tokens)


def write_model(
    path: Path,
    *,
    architecture: str = "llama",
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    kv_heads: int | Sequence[int] = 2,
    key_length: int | None = None,
    value_length: int | None = None,
    feed_forward: int = 96,
    vocab: int = 0,
    tied: bool = True,
    keys: dict[str, int | float | str | bool | list[bool] | list[int]] | None = None,
) -> Path:
    """Write a model with random weights that llama.cpp can load.

    Args:
        path: The file.
        architecture: `llama`, or one with the same tensors; `gemma2` gets its own besides.
        layers: Number of layers.
        width: Embedding length.
        heads: Attention heads.
        kv_heads: Key and value heads, for all layers or for each.
        key_length: Width of a key head; None for `width / heads`.
        value_length: Width of a value head; None for `width / heads`.
        feed_forward: Width of the feed-forward network.
        vocab: Tokens in the vocabulary; 0 for one with nothing but bytes.
        tied: Whether the output has no matrix of its own.
        keys: Further metadata; a key that begins with a dot belongs to the architecture.
    """
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    if key_length:
        writer.add_key_length(key_length)
    if value_length:
        writer.add_value_length(value_length)
    vocab = _write_vocabulary(writer, vocab)
    for key, value in (keys or {}).items():
        add_key(writer, f"{architecture}{key}" if key.startswith(".") else key, value)

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    key_width, value_width = key_length or width // heads, value_length or width // heads
    ones = np.ones(width, np.float32)
    writer.add_tensor("token_embd.weight", weights(vocab, width))
    for layer in range(layers):
        kv = kv_heads if isinstance(kv_heads, int) else kv_heads[layer]
        block = f"blk.{layer}."
        writer.add_tensor(f"{block}attn_norm.weight", ones)
        writer.add_tensor(f"{block}attn_q.weight", weights(heads * key_width, width))
        writer.add_tensor(f"{block}attn_k.weight", weights(kv * key_width, width))
        writer.add_tensor(f"{block}attn_v.weight", weights(kv * value_width, width))
        writer.add_tensor(f"{block}attn_output.weight", weights(width, heads * value_width))
        writer.add_tensor(f"{block}ffn_norm.weight", ones)
        writer.add_tensor(f"{block}ffn_gate.weight", weights(feed_forward, width))
        writer.add_tensor(f"{block}ffn_up.weight", weights(feed_forward, width))
        writer.add_tensor(f"{block}ffn_down.weight", weights(width, feed_forward))
        if architecture == "gemma2":
            writer.add_tensor(f"{block}post_attention_norm.weight", ones)
            writer.add_tensor(f"{block}post_ffw_norm.weight", ones)
    writer.add_tensor("output_norm.weight", ones)
    if not tied:
        writer.add_tensor("output.weight", weights(vocab, width))
    finish(writer)
    return path


def add_key(writer: gguf.GGUFWriter, key: str, value: object) -> None:
    """Add a metadata key of the type that the value has."""
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)


@pytest.fixture(scope="session")
def model_writer() -> ModelWriter:
    return write_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model, shared by all tests: not to be changed."""
    return write_model(tmp_path_factory.mktemp("tiny") / "Tiny-F32.gguf")
