"""What is read of a GGUF file: values, tensor infos and the header that holds them."""

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
    """The elements; None where they were skipped. Bytes of a text that are no UTF-8 stand as lone surrogates."""


Value = bool | int | float | str | Array


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]
    """Its dimensions as the file has them: the one that runs fastest comes first."""
    type: TensorType
    offset: int
    """Where its data begins, in bytes from `Header.data_offset`."""
    elements: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """Everything in a GGUF file that lies before the tensor data."""

    path: str
    version: int
    metadata: Mapping[str, Value]
    value_types: Mapping[str, ValueType]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    data_offset: int
    """Where the tensor data begins, in bytes from the start of the file."""
    file_size: int

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors, without the padding between them."""
        return sum(tensor.size_bytes for tensor in self.tensors)
