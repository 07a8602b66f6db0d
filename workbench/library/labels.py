"""Whether the label of a file is true: what its tensors are, and whether a file of that label could have them.

llama.cpp gives some tensors of a quantization more bits than the label says, and falls back to another type where the
rows of a tensor are no multiple of a block. Both are as they should be. A label is taken for wrong where hardly any
tensor has the type that the label stands for, or the one that llama.cpp falls back to from it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from workbench.gguf.header import TensorInfo
from workbench.gguf.targets import ALIASES, QUANT_TYPES
from workbench.gguf.types import TENSOR_TYPES_BY_NAME

LEAST_SHARE = 0.25
"""So much of the weights has to be of the label's own type; in llama.cpp's mixtures it is at least a third."""
DYNAMIC_BITS = (0.6, 1.7)
"""Mixtures by other recipes than llama.cpp's may have so many times the bits of the label's own type."""

Mix = tuple[tuple[str, int, int], ...]
"""The matrices of a model: tensor type, a block that rows divide into (up to 256 weights), number of weights."""

_FALLBACK: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("TQ1_0", "TQ2_0"), ("Q4_0",)),
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), ("IQ4_NL",)),
    **dict.fromkeys(("Q2_K", "Q3_K"), ("Q4_0", "IQ4_NL")),
    "Q4_K": ("Q5_0",),
    "Q5_K": ("Q5_1",),
    "Q6_K": ("Q8_0",),
}
"""What llama.cpp takes, or took in earlier versions, for a tensor whose rows do not fit a type."""
_MIXED_TYPES = {"IQ3_XS": frozenset({"IQ3_XXS"}), "IQ2_S": frozenset({"IQ2_S"}), "Q2_K": frozenset({"Q3_K"})}
"""Labels that stand for two types in about equal parts."""
_FAMILY = re.compile(r"(?:UD-)?(?P<family>I?Q\d_K|I?Q\d)(?:_|$)")
_MAX_BLOCK = 256


def mix_of(tensors: Iterable[TensorInfo]) -> Mix:
    """The matrices among `tensors`, summed up. Embeddings and output count only where there is nothing else."""
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
    """How the tensors contradict a label; empty where they do not.

    Args:
        label: The quantization as the file or its name gives it.
        mix: The matrices of the model.
        made_as: What the file itself says that it was made as.
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
    """The label as one that llama.cpp makes; None where it is none of those."""
    upper = label.upper()
    name = ALIASES.get(upper, upper)
    return name if name in QUANT_TYPES else None


def _types(label: str, mix: Mix) -> frozenset[str]:
    """The types that a label of llama.cpp's stands for."""
    own = {QUANT_TYPES[label].default.name, *_MIXED_TYPES.get(label, ())}
    if label == "MXFP4_MOE" and not any(name == "MXFP4" for name, _, _ in mix):
        # Only the experts of a mixture become MXFP4; all else, and so a whole model without experts, becomes Q8_0.
        own.add("Q8_0")
    return frozenset(own)


def _share(mix: Mix, types: Iterable[str]) -> float:
    """Which part of the weights has one of `types`, or what a type that does not fit the rows is replaced by."""
    total = sum(elements for _, _, elements in mix)
    kept = sum(elements for name, block, elements in mix if any(name in _instead(kind, block) for kind in types))
    return kept / total if total else 0.0


def _instead(kind: str, block: int) -> Sequence[str]:
    """The types that a tensor with rows of `block` may have where `kind` is wanted."""
    if TENSOR_TYPES_BY_NAME[kind].block <= block:
        return (kind,)
    fitting = tuple(name for name in _FALLBACK.get(kind, ()) if TENSOR_TYPES_BY_NAME[name].block <= block)
    return fitting or ("F16", "F32", "BF16")


def _bits_agree(label: str, mix: Mix) -> bool:
    """Whether the weights have about as many bits as a label that is none of llama.cpp's makes one expect."""
    match = _FAMILY.match(label.upper())
    if match is None:
        return True
    digit = next(char for char in match["family"] if char.isdigit())
    low, high = (factor * (int(digit) + 0.5) for factor in DYNAMIC_BITS)
    return low <= _bits(mix) <= high or _share(mix, _fallbacks_of(digit)) >= LEAST_SHARE


def _fallbacks_of(digit: str) -> frozenset[str]:
    """Types of a number of bits, whatever their form."""
    return frozenset(name for name in TENSOR_TYPES_BY_NAME if name.lstrip("I").startswith(f"Q{digit}_"))


def _bits(mix: Mix) -> float:
    """Bits of a weight in the matrices."""
    total = sum(elements for _, _, elements in mix)
    return sum(TENSOR_TYPES_BY_NAME[name].bits_per_weight * elements for name, _, elements in mix) / (total or 1)
