"""Vocabularies on which llama.cpp would abort."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.gguf.reading import refusal_to_load
from workbench.gguf.check import check_loadable


def vocabulary_file(path: Path, raw, tokens: list[bytes], *extra: bytes, tokenizer: str = "gpt2") -> Path:
    array = raw.array("tokenizer.ggml.tokens", raw.STRING, len(tokens), b"".join(map(raw.text, tokens)))
    keys = [
        raw.string("general.architecture", "llama"),
        raw.u32("llama.block_count", 1),
        raw.string("tokenizer.ggml.model", tokenizer),
        array,
        *extra,
    ]
    path.write_bytes(raw.file(keys, [raw.tensor("t")], data=b"\0" * 128))
    return path


@pytest.mark.parametrize(
    "tokens",
    [[b"a", b"b", b"a"], [b"", b"[EMPTY_0]"], [b"a\0x", b"a\0y"], [b"\xff", b"x", b"\xff"]],
    ids=["same", "empty", "zero byte", "no UTF-8"],
)
def test_tokens_that_llama_cpp_takes_for_one(tmp_path: Path, raw, tokens: list[bytes]) -> None:
    assert "are equal" in refusal_to_load(vocabulary_file(tmp_path / "m.gguf", raw, tokens)).message


def test_tokens_that_only_look_alike(tmp_path: Path, raw) -> None:
    check_loadable(vocabulary_file(tmp_path / "m.gguf", raw, [b"\xff", b"\xfe", b"", b" "]))


@pytest.mark.parametrize("tokenizer", ["none", "no_vocab"])
def test_a_model_without_a_tokenizer(tmp_path: Path, raw, tokenizer: str) -> None:
    """llama.cpp loads it, and aborts at the first text. Quantizing it needs no text; equal tokens do not matter."""
    path = vocabulary_file(tmp_path / "m.gguf", raw, [b"a", b"a"], tokenizer=tokenizer)
    check_loadable(path, writes=False)
    assert "no tokenizer" in refusal_to_load(path).message


@pytest.mark.parametrize(("tokenizer", "kind"), [("bert", 6), ("bert", 1), ("gpt2", 6), ("llama", 6)])
def test_byte_tokens_of_a_tokenizer_of_words(tmp_path: Path, raw, tokenizer: str, kind: int) -> None:
    tokens = [b"<0x%02X>" % byte for byte in range(256)]
    types = raw.array("tokenizer.ggml.token_type", raw.INT32, 256, struct.pack("<256i", *[1] * 255, kind))
    path = vocabulary_file(tmp_path / "m.gguf", raw, tokens, types, tokenizer=tokenizer)
    if (tokenizer, kind) == ("bert", 6):
        assert "tokens for single bytes" in refusal_to_load(path).message
    else:
        check_loadable(path)


def test_a_first_token_outside_of_the_vocabulary(tmp_path: Path, raw) -> None:
    begin = raw.key("tokenizer.ggml.add_bos_token", raw.BOOL, b"\1")
    first = raw.u32("tokenizer.ggml.bos_token_id", 2)
    path = vocabulary_file(tmp_path / "m.gguf", raw, [b"a", b"b"], begin, first)
    assert "BOS token" in refusal_to_load(path).message
    check_loadable(vocabulary_file(tmp_path / "m.gguf", raw, [b"a", b"b", b"c"], begin, first))


def test_a_tokenizer_that_always_writes_a_first_token(tmp_path: Path, raw) -> None:
    denied = raw.key("tokenizer.ggml.add_bos_token", raw.BOOL, b"\0")
    path = vocabulary_file(tmp_path / "m.gguf", raw, [b"a", b"b"], denied, tokenizer="gemma4")
    assert "BOS token" in refusal_to_load(path).message
    first = raw.u32("tokenizer.ggml.bos_token_id", 1)
    check_loadable(vocabulary_file(tmp_path / "m.gguf", raw, [b"a", b"b"], denied, first, tokenizer="gemma4"))


def test_a_missing_byte_token(tmp_path: Path, raw) -> None:
    tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    path = tmp_path / "m.gguf"
    check_loadable(vocabulary_file(path, raw, tokens, tokenizer="llama"))
    tokens[3 + 65] = b"A"
    check_loadable(vocabulary_file(path, raw, tokens, tokenizer="llama"))
    tokens[3 + 65] = b"B"
    assert "byte 65" in refusal_to_load(vocabulary_file(path, raw, tokens, tokenizer="llama")).message
