"""The header of a GGUF file: metadata values and tensor descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.gguf.types import TensorType, ValueType


@dataclass(frozen=True, slots=True)
class Array:
    """An array in the metadata."""

    element_type: ValueType
    length: int
    values: Sequence[int] | Sequence[float] | Sequence[bool] | Sequence[str] | None
    """The elements; None where they were skipped. Text bytes that are not UTF-8 are lone surrogates."""


Value = bool | int | float | str | Array


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """The description of one tensor."""

    name: str
    shape: tuple[int, ...]
    """Its dimensions in the order of the file, the fastest-varying one first."""
    type: TensorType
    offset: int
    """Start of its data, in bytes from `Header.data_offset`."""
    elements: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """Everything in a GGUF file before the tensor data."""

    path: str
    version: int
    metadata: Mapping[str, Value]
    value_types: Mapping[str, ValueType]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    data_offset: int
    """Start of the tensor data, in bytes from the start of the file."""
    file_size: int

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors, without the padding between them."""
        return sum(tensor.size_bytes for tensor in self.tensors)
