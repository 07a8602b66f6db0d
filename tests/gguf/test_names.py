from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gguf.names import parse_name, parse_piece, parse_shard


@pytest.mark.parametrize(
    ("name", "base", "quant"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct", "Q4_1"),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "Meta-Llama-3.1-8B-Instruct", "Q4_K_M"),
        ("Qwen2.5-7B-Instruct-IQ4_XS.gguf", "Qwen2.5-7B-Instruct", "IQ4_XS"),
        ("mistral-7b-IQ3_XXS-imat.gguf", "mistral-7b-imat", "IQ3_XXS"),
        ("model-UD-Q4_K_XL.gguf", "model", "UD-Q4_K_XL"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b", "MXFP4"),
        ("phi-3-mini-4k-instruct-fp16.gguf", "phi-3-mini-4k-instruct", "F16"),
        ("gemma-3-4b-it-bf16.gguf", "gemma-3-4b-it", "BF16"),
        ("llama-2-7b.Q8_0.gguf", "llama-2-7b", "Q8_0"),
        ("x-IQ4_NL.gguf", "x", "IQ4_NL"),
        ("m-Q4_0_4_4.gguf", "m", "Q4_0_4_4"),
        ("m-q6_k.GGUF", "m", "Q6_K"),
        ("Nemotron-Q2_K_L.gguf", "Nemotron", "Q2_K_L"),
        ("F16-finetune-Q8_0.gguf", "F16-finetune", "Q8_0"),
        ("DeepSeek-R1-UD-TQ1_0.gguf", "DeepSeek-R1", "UD-TQ1_0"),
        ("m-IQ4_KSS.gguf", "m", "IQ4_KSS"),
        ("m-IQ2_KL.gguf", "m", "IQ2_KL"),
        ("m-IQ4_KS_R4.gguf", "m", "IQ4_KS_R4"),
        ("m-Q4_K_R4.gguf", "m", "Q4_K_R4"),
        ("m.IQ4_XS_R8.gguf", "m", "IQ4_XS_R8"),
        ("m-Q8_KV.gguf", "m", "Q8_KV"),
        ("bitnet-IQ2_BN.gguf", "bitnet", "IQ2_BN"),
        ("m-BF16_R16.gguf", "m", "BF16_R16"),
        ("m-q4.gguf", "m", "Q4"),
        ("q4-m-Q8_0.gguf", "q4-m", "Q8_0"),
        ("m-q9.gguf", "m-q9", None),
        ("m-q2.5.gguf", "m-q2.5", None),
        ("tinyllama.gguf", "tinyllama", None),
        ("BQ4_0x.gguf", "BQ4_0x", None),
        ("Q4_K_M.gguf", "Q4_K_M", "Q4_K_M"),
        ("/some/where/a b-Q5_0.gguf", "a b", "Q5_0"),
        (".gguf", ".gguf", None),
    ],
)
def test_the_parts_of_a_name(name: str, base: str, quant: str | None) -> None:
    parts = parse_name(name)
    assert (parts.base, parts.quant, parts.shard) == (base, quant, None)


def test_a_part_of_a_split_file() -> None:
    parts = parse_name("DeepSeek-V3-Q4_K_M-00002-of-00003.gguf")
    assert (parts.base, parts.quant) == ("DeepSeek-V3", "Q4_K_M")
    assert parts.shard is not None
    assert (parts.shard.number, parts.shard.count) == (2, 3)
    assert parts.shard.names == tuple(f"DeepSeek-V3-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3))


@pytest.mark.parametrize("name", ["m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-1-of-3.gguf", "-00001-of-00001"])
def test_what_is_no_part(name: str) -> None:
    assert parse_shard(name) is None


@pytest.mark.parametrize(
    ("name", "whole", "number", "count"),
    [
        ("m.Q4_K_M.gguf.part1of2", "m.Q4_K_M.gguf", "1", 2),
        ("m.gguf.part-02-of-10", "m.gguf", "02", 10),
        ("m.gguf.partab", "m.gguf", "ab", None),
        ("m.gguf-split-a", "m.gguf", "a", None),
        ("m.GGUF.001", "m.GGUF", "001", None),
    ],
)
def test_pieces_of_a_file(name: str, whole: str, number: str, count: int | None) -> None:
    piece = parse_piece(name)
    assert piece is not None
    assert (piece.whole, piece.number, piece.count) == (whole, number, count)
    assert parse_name(name) == parse_name(whole)


@pytest.mark.parametrize(
    "name", ["m.gguf", "m.gguf.part", "m.gguf.partial", "m.part1of2", ".gguf.part1of2", "m.gguf.1"]
)
def test_what_is_no_piece(name: str) -> None:
    assert parse_piece(name) is None


@given(st.text(max_size=60))
def test_any_name_has_a_base(name: str) -> None:
    parts = parse_name(f"{name}x.gguf")
    assert parts.base
