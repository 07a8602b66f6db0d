from __future__ import annotations

import pytest

from workbench.core.errors import ParameterError
from workbench.gguf.header import Header, TensorInfo
from workbench.gguf.targets import FILE_TYPES, QUANT_TYPES, find_quant_type, target_name, target_size
from workbench.gguf.types import TENSOR_TYPES_BY_NAME


def header(*tensors: TensorInfo, **metadata) -> Header:
    return Header("m.gguf", 3, metadata, {}, tensors, 32, 1024, 10_000)


def tensor(name: str, kind: str, *shape: int) -> TensorInfo:
    elements = 1
    for size in shape:
        elements *= size
    found = TENSOR_TYPES_BY_NAME[kind]
    return TensorInfo(name, shape, found, 0, elements, found.row_bytes(elements))


def test_every_file_type_that_llama_cpp_makes_is_there():
    # llama.cpp reads NVFP4 and does not make it.
    assert {kind.file_type for kind in QUANT_TYPES.values()} == set(FILE_TYPES) - {39}
    assert all(FILE_TYPES[kind.file_type] == name for name, kind in QUANT_TYPES.items())


@pytest.mark.parametrize(
    ("text", "name"),
    [("q4_k_m", "Q4_K_M"), (" Q8_0 ", "Q8_0"), ("Q4-K-M", "Q4_K_M"), ("Q4_K", "Q4_K_M"), ("fp16", "F16")],
)
def test_a_type_has_many_spellings(text, name):
    assert find_quant_type(text).name == name


def test_an_unknown_type_has_neighbours():
    with pytest.raises(ParameterError) as caught:
        find_quant_type("Q4_K_N")
    assert "'Q4_K_M'" in caught.value.hint
    with pytest.raises(ParameterError) as caught:
        find_quant_type("zzz")
    assert "Q8_0" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("Llama-3.2-1B-F16.gguf", "Llama-3.2-1B-Q4_K_M.gguf"),
        ("SmolLM2.Q4_1.gguf", "SmolLM2-Q4_K_M.gguf"),
        ("Big-BF16-00001-of-00003.gguf", "Big-Q4_K_M.gguf"),
        ("plain.gguf", "plain-Q4_K_M.gguf"),
        ("sha256-0123", "a-model-7b-Q4_K_M.gguf"),
    ],
)
def test_the_name_follows_the_convention(source, name):
    assert target_name(source, QUANT_TYPES["Q4_K_M"], "a/model-7b") == name


def test_the_size_is_that_of_the_chosen_types():
    parts = [
        header(tensor("a", "F16", 64, 2), tensor("norm", "F32", 64), **{"general.file_type": 1}),
        header(tensor("b", "Q8_0", 32, 3)),
    ]
    size = target_size(parts, {"a": "q8_0", "b": "q4_0"})
    assert size.weights_bytes == 4 * 34 + 256 + 3 * 18
    assert size.bits_per_weight == 8 * size.weights_bytes / (128 + 64 + 96)
    assert size.requantized == 1
    assert size.file_bytes == pytest.approx(1024 + 160 + 256 + 64, abs=120)


def test_what_stays_as_it_is_is_not_quantized_again():
    size = target_size([header(tensor("b", "Q8_0", 32, 3))], {})
    assert (size.requantized, size.weights_bytes) == (0, 102)
