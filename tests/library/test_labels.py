from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gguf.header import TensorInfo
from workbench.gguf.names import parse_name
from workbench.gguf.reader import read_header
from workbench.gguf.targets import QUANT_TYPES
from workbench.gguf.types import TENSOR_TYPES_BY_NAME
from workbench.library.labels import Mix, find_mismatch, mix_of, tensor_quant

# What llama-quantize makes of a Llama whose rows are multiples of 256, and of one whose rows mostly are not.
MADE: dict[str, dict[str, Mix]] = {
    "rows fit": {
        "Q6_K": (("Q6_K", 256, 6291456),),
        "Q5_K_M": (("Q5_K", 256, 5373952), ("Q6_K", 256, 917504)),
        "Q4_K_M": (("Q4_K", 256, 5373952), ("Q6_K", 256, 917504)),
        "IQ4_XS": (("IQ4_XS", 256, 6094848), ("Q5_K", 256, 196608)),
        "MXFP4_MOE": (("Q8_0", 256, 6291456),),
        "Q3_K_L": (("Q3_K", 256, 3932160), ("Q5_K", 256, 2359296)),
        "Q3_K_M": (("Q3_K", 256, 3932160), ("Q4_K", 256, 2293760), ("Q5_K", 256, 65536)),
        "Q3_K_S": (("Q3_K", 256, 6291456),),
        "IQ3_M": (("IQ3_S", 256, 5308416), ("Q4_K", 256, 983040)),
        "Q2_K": (("Q2_K", 256, 3932160), ("Q3_K", 256, 2359296)),
        "TQ2_0": (("TQ2_0", 256, 6291456),),
    },
    "rows do not fit": {
        "Q6_K": (("Q6_K", 256, 589824), ("Q8_0", 64, 2064384)),
        "Q5_K_M": (("Q5_1", 64, 1990656), ("Q5_K", 256, 393216), ("Q6_K", 256, 196608), ("Q8_0", 64, 73728)),
        "Q4_K_M": (("Q4_K", 256, 393216), ("Q5_0", 64, 1990656), ("Q6_K", 256, 196608), ("Q8_0", 64, 73728)),
        "IQ4_XS": (("IQ4_NL", 64, 2064384), ("IQ4_XS", 256, 589824)),
        "MXFP4_MOE": (("Q8_0", 64, 2064384), ("Q8_0", 256, 589824)),
        "Q3_K_L": (("Q4_0", 64, 1622016), ("Q5_1", 64, 442368), ("Q5_K", 256, 589824)),
        "Q3_K_M": (("Q4_0", 64, 1622016), ("Q4_K", 256, 589824), ("Q5_0", 64, 368640), ("Q5_1", 64, 73728)),
        "IQ3_M": (("IQ3_S", 256, 589824), ("IQ4_NL", 64, 1622016), ("Q5_0", 64, 442368)),
        "Q2_K": (("Q3_K", 256, 589824), ("Q4_0", 64, 2064384)),
        "TQ2_0": (("Q4_0", 64, 2064384), ("TQ2_0", 256, 589824)),
    },
}


@pytest.mark.parametrize(
    ("label", "mix"),
    [pytest.param(label, mix, id=f"{label}, {rows}") for rows, made in MADE.items() for label, mix in made.items()],
)
def test_what_llama_cpp_makes_is_what_the_label_says(label: str, mix: Mix) -> None:
    assert find_mismatch(label, mix, label) == ""
    assert find_mismatch(label, mix) == ""


@pytest.mark.parametrize("label", ["Q8_0", "Q4_0", "F16", "BF16", "Q5_K_M", "IQ4_XS", "Q2_K"])
@pytest.mark.parametrize("kind", ["F32", "Q6_K"])
def test_another_type_is_reported(label: str, kind: str) -> None:
    said = find_mismatch(label, ((kind, 256, 1000),))
    assert said.startswith(f"The label says {label}, but most weights are {kind}")


def test_a_larger_quantization_under_a_smaller_label() -> None:
    said = find_mismatch("Q4_K_M", MADE["rows fit"]["Q6_K"])
    assert said == "The label says Q4_K_M, but most weights are Q6_K (6.6 bits)."


def test_what_the_file_says_of_itself_tells_forms_of_one_type_apart() -> None:
    mix = MADE["rows fit"]["Q4_K_M"]
    assert find_mismatch("Q4_K_S", mix) == ""
    assert find_mismatch("Q4_K_S", mix, "Q4_K_M") == "The label says Q4_K_S, but the file was made as Q4_K_M."
    # A claim that the tensors contradict too counts for nothing.
    assert find_mismatch("Q4_K_S", mix, "Q8_0") == ""


@pytest.mark.parametrize(
    ("label", "mix"),
    [
        ("UD-Q4_K_XL", (("Q4_K", 256, 50), ("Q5_K", 256, 30), ("Q8_0", 256, 20))),
        ("UD-IQ1_M", (("IQ1_M", 256, 60), ("IQ2_XXS", 256, 30), ("Q4_K", 256, 10))),
        ("Q6_K_L", (("Q6_K", 256, 100),)),
        ("Q3_K_XL", (("Q3_K", 256, 60), ("Q5_K", 256, 40))),
        ("Q4_0_4_4", (("Q4_0", 256, 100),)),
        ("NVFP4", (("NVFP4", 256, 100),)),
        ("FP16", (("F16", 256, 100),)),
        ("MXFP4", (("MXFP4", 32, 90), ("Q8_0", 32, 10))),
    ],
)
def test_labels_that_are_none_of_llama_cpps(label: str, mix: Mix) -> None:
    assert find_mismatch(label, mix) == ""


def test_other_labels_are_held_against_the_bits() -> None:
    assert "most weights are F16 (16.0 bits)" in find_mismatch("UD-Q4_K_XL", (("F16", 256, 100),))
    assert find_mismatch("Q6_K_L", (("Q2_K", 256, 100),))


@pytest.mark.parametrize(("label", "mix"), [(None, (("F32", 1, 1),)), ("", (("F32", 1, 1),)), ("Q4_0", ())])
def test_nothing_to_compare(label: str | None, mix: Mix) -> None:
    assert find_mismatch(label, mix) == ""


def test_the_demo_model(demo_path: Path) -> None:
    mix = mix_of(read_header(demo_path).tensors)
    label = parse_name(demo_path.name).quant
    assert label is not None
    assert (tensor_quant(mix), find_mismatch(label, mix)) == (label, "")
    assert find_mismatch("Q8_0", mix)


def tensor(name: str, kind: str, *shape: int) -> TensorInfo:
    elements = 1
    for size in shape:
        elements *= size
    return TensorInfo(name, shape, TENSOR_TYPES_BY_NAME[kind], 0, elements, 0)


def test_only_matrices_of_the_layers_count() -> None:
    tensors = [
        tensor("token_embd.weight", "Q8_0", 512, 100_000),
        tensor("output.weight", "Q6_K", 512, 100_000),
        tensor("blk.0.attn_norm.weight", "F32", 512),
        tensor("blk.0.attn_q.weight", "Q4_K", 512, 512),
        tensor("blk.0.attn_v.weight", "Q5_0", 96, 512),
    ]
    assert mix_of(tensors) == (("Q4_K", 256, 512 * 512), ("Q5_0", 32, 96 * 512))
    assert tensor_quant(mix_of(tensors)) == "Q4_K"
    assert tensor_quant(mix_of(tensors[:3])) == "Q8_0"
    assert tensor_quant(mix_of(tensors[2:3])) is None
    assert mix_of([]) == ()


mixes = st.lists(
    st.tuples(st.sampled_from(sorted(TENSOR_TYPES_BY_NAME)), st.sampled_from([1, 32, 64, 256]), st.integers(1, 10**12)),
    max_size=5,
).map(tuple)


@given(st.sampled_from([*QUANT_TYPES, "UD-Q4_K_XL"]) | st.text(max_size=12), mixes, st.none() | st.text(max_size=8))
def test_no_label_and_no_tensors_raise(label: str, mix: Mix, made_as: str | None) -> None:
    assert isinstance(find_mismatch(label, mix, made_as), str)
