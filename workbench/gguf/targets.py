"""Quantization targets: llama.cpp's file types, conventional file names, and resulting sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from workbench.core.errors import ParameterError, did_you_mean
from workbench.gguf.header import Header
from workbench.gguf.names import SUFFIX, parse_name
from workbench.gguf.reader import DEFAULT_ALIGNMENT
from workbench.gguf.types import TENSOR_TYPES_BY_NAME, TensorType

NOT_QUANTIZED = frozenset({"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"})
"""Tensor types without quantization."""

_ADDED_KEYS = ("general.file_type", "general.quantization_version")
"""Metadata keys that llama.cpp adds, each with a four-byte integer."""


@dataclass(frozen=True, slots=True)
class QuantType:
    """A file type that llama.cpp can make."""

    name: str
    file_type: int
    """Its number in `general.file_type`."""
    default: TensorType
    """The type of most tensors."""
    about: str
    """A short description."""
    imatrix: Literal["", "better", "needed"] = ""
    """Whether an importance matrix improves it, or is required."""


# fmt: off
_TABLE: tuple[tuple[int, str, str, str, Literal["", "better", "needed"]], ...] = (
    (0, "F32", "F32", "full precision", ""),
    (32, "BF16", "BF16", "half the size of F32, with its range", ""),
    (1, "F16", "F16", "half the size of F32; the usual source of quantizations", ""),
    (7, "Q8_0", "Q8_0", "almost identical to F16", ""),
    (18, "Q6_K", "Q6_K", "very close to F16", ""),
    (17, "Q5_K_M", "Q5_K", "close to F16; sensitive tensors in more bits", "better"),
    (16, "Q5_K_S", "Q5_K", "a little smaller than Q5_K_M", "better"),
    (9, "Q5_1", "Q5_1", "older five-bit format", ""),
    (8, "Q5_0", "Q5_0", "older five-bit format", ""),
    (15, "Q4_K_M", "Q4_K", "the usual choice; sensitive tensors in more bits", "better"),
    (14, "Q4_K_S", "Q4_K", "a little smaller than Q4_K_M", "better"),
    (3, "Q4_1", "Q4_1", "older four-bit format", ""),
    (2, "Q4_0", "Q4_0", "older four-bit format; fast on CPUs", ""),
    (25, "IQ4_NL", "IQ4_NL", "four bits on a non-linear scale", "better"),
    (30, "IQ4_XS", "IQ4_XS", "four bits on a non-linear scale, smaller", "better"),
    (38, "MXFP4_MOE", "MXFP4", "four-bit floating point for the experts of a mixture", ""),
    (13, "Q3_K_L", "Q3_K", "three bits, largest variant", "better"),
    (12, "Q3_K_M", "Q3_K", "three bits, medium variant", "better"),
    (11, "Q3_K_S", "Q3_K", "three bits, smallest variant", "better"),
    (27, "IQ3_M", "IQ3_S", "three bits by codebook, largest variant", "better"),
    (26, "IQ3_S", "IQ3_S", "three bits by codebook", "better"),
    (22, "IQ3_XS", "IQ3_S", "three bits by codebook, smaller", "needed"),
    (23, "IQ3_XXS", "IQ3_XXS", "three bits by codebook, smallest variant", "needed"),
    (10, "Q2_K", "Q2_K", "two bits; small, with a clear loss of quality", "better"),
    (21, "Q2_K_S", "Q2_K", "two bits, smaller", "needed"),
    (29, "IQ2_M", "IQ2_S", "two bits by codebook, largest variant", "needed"),
    (28, "IQ2_S", "IQ2_XS", "two bits by codebook", "needed"),
    (20, "IQ2_XS", "IQ2_XS", "two bits by codebook, smaller", "needed"),
    (19, "IQ2_XXS", "IQ2_XXS", "two bits by codebook, the smallest form", "needed"),
    (41, "Q2_0", "Q2_0", "two bits in groups of 64, for models trained for it", ""),
    (37, "TQ2_0", "TQ2_0", "for models trained with ternary weights", ""),
    (36, "TQ1_0", "TQ1_0", "for models trained with ternary weights, packed", ""),
    (31, "IQ1_M", "IQ1_M", "less than two bits; a last resort", "needed"),
    (24, "IQ1_S", "IQ1_S", "one and a half bits; a last resort", "needed"),
    (40, "Q1_0", "Q1_0", "one bit, for models trained for it", ""),
)
# fmt: on

QUANT_TYPES: Mapping[str, QuantType] = {
    name: QuantType(name, number, TENSOR_TYPES_BY_NAME[default], about, imatrix)
    for number, name, default, about, imatrix in _TABLE
}
"""Every file type that llama.cpp makes, by name, the largest first."""

FILE_TYPES: Mapping[int, str] = {kind.file_type: name for name, kind in QUANT_TYPES.items()} | {39: "NVFP4"}
"""The labels of `general.file_type`, including one that llama.cpp reads but does not make."""

GUESSED_FILE_TYPE = 1024
"""The bit of `general.file_type` that marks a type guessed from the tensors."""

ALIASES: Mapping[str, str] = {
    "Q3_K": "Q3_K_M",
    "Q4_K": "Q4_K_M",
    "Q5_K": "Q5_K_M",
    "FP16": "F16",
    "FP32": "F32",
    "MXFP4": "MXFP4_MOE",
}
"""Alternative names."""


def find_quant_type(name: str) -> QuantType:
    """The file type called `name`, in any case.

    Raises:
        ParameterError: There is none; the nearest names are in the hint.
    """
    upper = name.strip().upper().replace("-", "_")
    found = QUANT_TYPES.get(ALIASES.get(upper, upper))
    if found is None:
        known = ", ".join(QUANT_TYPES)
        raise ParameterError(
            f"There is no quantization {name!r}.", did_you_mean(name, QUANT_TYPES) or f"Known: {known}"
        )
    return found


def target_name(source: str, kind: QuantType, model: str = "") -> str:
    """The conventional file name of a quantization.

    The name of the model is used where the file name of the source does not end in `.gguf`, as that of a blob.
    """
    name = PurePath(source).name
    base = parse_name(name).base if name.casefold().endswith(SUFFIX) or not model else model.replace("/", "-")
    return f"{base}-{kind.name}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class TargetSize:
    """The resulting size of a quantization."""

    file_bytes: int
    """The file; accurate to a hundred bytes, and without the notes on an importance matrix."""
    weights_bytes: int
    """Its tensors; exact."""
    bits_per_weight: float
    requantized: int
    """Quantized tensors that would be quantized again."""


def target_size(headers: Sequence[Header], chosen: Mapping[str, str]) -> TargetSize:
    """The resulting size where the tensors in `chosen` get another type, by their names."""
    weights = padded = elements = requantized = 0
    for tensor in (tensor for header in headers for tensor in header.tensors):
        kind = TENSOR_TYPES_BY_NAME[chosen[tensor.name].upper()] if tensor.name in chosen else tensor.type
        size = kind.row_bytes(tensor.elements)
        weights += size
        padded += -(-size // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT
        elements += tensor.elements
        requantized += kind is not tensor.type and tensor.type.name not in NOT_QUANTIZED
    # The first part has room for its own tensor descriptions.
    moved = [tensor for header in headers[1:] for tensor in header.tensors]
    infos = headers[0].data_offset
    infos += sum(8 + len(tensor.name.encode()) + 4 + 8 * len(tensor.shape) + 12 for tensor in moved)
    infos += sum(8 + len(key) + 8 for key in _ADDED_KEYS if key not in headers[0].metadata)
    return TargetSize(infos + padded, weights, 8 * weights / elements if elements else 0.0, requantized)
