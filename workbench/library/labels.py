"""Comparison of the quantization label of a file with its tensors.

llama.cpp gives some tensors of a quantization more bits than the label states, and falls back to another type where
the rows of a tensor are not a multiple of a block. Both are normal. A label counts as wrong where hardly any tensor has
the type of the label, or the one that llama.cpp falls back to.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from workbench.gguf.header import TensorInfo
from workbench.gguf.targets import ALIASES, QUANT_TYPES
from workbench.gguf.types import TENSOR_TYPES_BY_NAME

LEAST_SHARE = 0.25
"""The least share of weights of the label's type; in llama.cpp's mixtures it is at least a third."""
DYNAMIC_BITS = (0.6, 1.7)
"""The range of bits in mixtures by other recipes, relative to the label's type."""

Mix = tuple[tuple[str, int, int], ...]
"""The matrices of a model: tensor type, block size that divides the rows (at most 256), number of weights."""

_FALLBACK: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("TQ1_0", "TQ2_0"), ("Q4_0",)),
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), ("IQ4_NL",)),
    **dict.fromkeys(("Q2_K", "Q3_K"), ("Q4_0", "IQ4_NL")),
    "Q4_K": ("Q5_0",),
    "Q5_K": ("Q5_1",),
    "Q6_K": ("Q8_0",),
}
"""The types that current or earlier versions of llama.cpp fall back to where rows do not fit."""
_MIXED_TYPES = {"IQ3_XS": frozenset({"IQ3_XXS"}), "IQ2_S": frozenset({"IQ2_S"}), "Q2_K": frozenset({"Q3_K"})}
"""Labels with two types in about equal parts."""
_FAMILY = re.compile(r"(?:UD-)?(?P<family>I?Q\d_K|I?Q\d)(?:_|$)")
_MAX_BLOCK = 256


def mix_of(tensors: Iterable[TensorInfo]) -> Mix:
    """The matrices among `tensors`, summed. Embeddings and output count only where there are no others."""
    inner: Counter[tuple[str, int]] = Counter()
    outer: Counter[tuple[str, int]] = Counter()
    for tensor in tensors:
        if len(tensor.shape) < 2 or not tensor.elements:
            continue
        block = min(tensor.shape[0] & -tensor.shape[0], _MAX_BLOCK)
        counter = inner if tensor.name.startswith(("blk.", "enc.", "dec.")) else outer
        counter[tensor.type.name, block] += tensor.elements
    return tuple((name, block, elements) for (name, block), elements in sorted((inner or outer).items()))


def tensor_quant(mix: Mix) -> str | None:
    """The type of most weights; None where there are none."""
    sums: Counter[str] = Counter()
    for name, _, elements in mix:
        sums[name] += elements
    return max(sums, key=lambda name: (sums[name], name), default=None)


def find_mismatch(label: str | None, mix: Mix, made_as: str | None = None) -> str:
    """How the tensors contradict a label in the name or the metadata of a file; empty where they do not.

    `made_as` is the quantization in the metadata.
    """
    main = tensor_quant(mix)
    if not label or main is None:
        return ""
    official = _official(label)
    agrees = _bits_agree(label, mix) if official is None else _share(mix, _types(official, mix)) >= LEAST_SHARE
    if not agrees:
        return f"The label says {label}, but most weights are {main} ({_bits(mix):.1f} bits)."
    made = _official(made_as or "")
    if official and made and made != official and _share(mix, _types(made, mix)) >= LEAST_SHARE:
        return f"The label says {label}, but the file was made as {made}."
    return ""


def _official(label: str) -> str | None:
    """The label as a file type of llama.cpp; None where it is not one."""
    upper = label.upper()
    name = ALIASES.get(upper, upper)
    return name if name in QUANT_TYPES else None


def _types(label: str, mix: Mix) -> frozenset[str]:
    """The tensor types of a file type."""
    own = {QUANT_TYPES[label].default.name, *_MIXED_TYPES.get(label, ())}
    if label == "MXFP4_MOE" and not any(name == "MXFP4" for name, _, _ in mix):
        # Only experts become MXFP4; all other tensors, and so a whole model without experts, become Q8_0.
        own.add("Q8_0")
    return frozenset(own)


def _share(mix: Mix, types: Collection[str]) -> float:
    """The share of weights with one of `types`, or with its fallback where it does not fit the rows."""
    total = sum(elements for _, _, elements in mix)
    kept = sum(elements for name, block, elements in mix if any(name in _instead(kind, block) for kind in types))
    return kept / total if total else 0.0


def _instead(kind: str, block: int) -> Sequence[str]:
    """The types that a tensor with rows of `block` may have where `kind` is requested."""
    if TENSOR_TYPES_BY_NAME[kind].block <= block:
        return (kind,)
    fitting = tuple(name for name in _FALLBACK.get(kind, ()) if TENSOR_TYPES_BY_NAME[name].block <= block)
    return fitting or ("F16", "F32", "BF16")


def _bits_agree(label: str, mix: Mix) -> bool:
    """Whether the bits of the weights are plausible for a label that is not a file type of llama.cpp."""
    match = _FAMILY.match(label.upper())
    if match is None:
        return True
    digit = next(char for char in match["family"] if char.isdigit())
    low, high = (factor * (int(digit) + 0.5) for factor in DYNAMIC_BITS)
    of_these_bits = [name for name in TENSOR_TYPES_BY_NAME if name.lstrip("I").startswith(f"Q{digit}_")]
    return low <= _bits(mix) <= high or _share(mix, of_these_bits) >= LEAST_SHARE


def _bits(mix: Mix) -> float:
    """Bits per weight in the matrices."""
    total = sum(elements for _, _, elements in mix)
    return sum(TENSOR_TYPES_BY_NAME[name].bits_per_weight * elements for name, _, elements in mix) / (total or 1)
