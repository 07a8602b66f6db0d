"""Inspection of a model file: the contents of its header, its oddities, and the differences of two files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.core.chat import Message
from workbench.gguf.header import Array, Header, TensorInfo, Value
from workbench.gguf.model import ModelFacts, describe
from workbench.gguf.oddities import Oddity, find_oddities
from workbench.gguf.tokenizer import TokenizerFacts, describe_tokenizer

SHOWN_ELEMENTS = 8
"""Elements of an array that are shown."""

ARRAYS = frozenset({"tokenizer.ggml.tokens", "tokenizer.ggml.token_type"})
"""The long arrays to read for an inspection; without them fewer facts of the tokenizer are known."""


@dataclass(frozen=True, slots=True)
class FoldedArray:
    """An array, truncated for display."""

    element_type: str
    length: int
    first: tuple[bool | int | float | str, ...]


FoldedValue = bool | int | float | str | FoldedArray


@dataclass(frozen=True, slots=True)
class TypeShare:
    """The share of one tensor type in a model."""

    type: str
    tensors: int
    elements: int
    bytes: int
    fraction: float
    """Share of the bytes of all tensors, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The contents of the header of a model file."""

    paths: tuple[str, ...]
    """The file, or all of its parts."""
    file_bytes: int
    version: int
    facts: ModelFacts
    metadata: Mapping[str, FoldedValue]
    """In the order of the file, with long arrays folded."""
    tensors: tuple[TensorInfo, ...]
    types: tuple[TypeShare, ...]
    """The type with most bytes first."""
    tokenizer: TokenizerFacts
    warnings: tuple[Oddity, ...]


@dataclass(frozen=True, slots=True)
class ModelReport:
    """An inspection, with a sample of the chat template and whether llama.cpp would load the file."""

    inspection: Inspection
    sample: str | None
    """`SAMPLE` rendered by its chat template; None where it has none, or where it fails."""
    warnings: tuple[Oddity, ...]
    """Warnings of the loader and the template, followed by those of the inspection."""


SAMPLE = (
    Message("system", "You are a helpful assistant."),
    Message("user", "Why is the sky blue?"),
    Message("assistant", "Because air scatters blue light most."),
    Message("user", "And in the evening?"),
)
"""A sample conversation for chat templates."""


def inspect(headers: Sequence[Header]) -> Inspection:
    """Inspect a model by its headers, read with `ARRAYS`, one for each part of a split file."""
    first = headers[0]
    facts = describe(first, headers[1:])
    tokenizer = describe_tokenizer(first.metadata)
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    return Inspection(
        paths=tuple(header.path for header in headers),
        file_bytes=sum(header.file_size for header in headers),
        version=first.version,
        facts=facts,
        metadata={key: fold(value) for key, value in first.metadata.items()},
        tensors=tensors,
        types=_shares(tensors),
        tokenizer=tokenizer,
        warnings=find_oddities(headers, facts, tokenizer),
    )


def fold(value: Value) -> FoldedValue:
    """`value`, with arrays truncated."""
    if not isinstance(value, Array):
        return value
    return FoldedArray(value.element_type.name.lower(), value.length, tuple((value.values or ())[:SHOWN_ELEMENTS]))


def _shares(tensors: Sequence[TensorInfo]) -> tuple[TypeShare, ...]:
    by_type: dict[str, list[TensorInfo]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.type.name, []).append(tensor)
    total = sum(tensor.size_bytes for tensor in tensors) or 1
    shares = []
    for name, group in by_type.items():
        size = sum(tensor.size_bytes for tensor in group)
        shares.append(TypeShare(name, len(group), sum(tensor.elements for tensor in group), size, size / total))
    return tuple(sorted(shares, key=lambda share: (-share.bytes, share.type)))


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor that differs between two files."""

    name: str
    first: TensorInfo | None
    """None where only the second file has it."""
    second: TensorInfo | None


@dataclass(frozen=True, slots=True)
class TypeChange:
    """The tensors that have one type in the first file and another in the second."""

    first: str
    second: str
    tensors: int
    first_bytes: int
    second_bytes: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The differences of two model files."""

    tensors: tuple[TensorChange, ...]
    """Tensors with another type or shape, or in one file only, in the order of the first file."""
    types: tuple[TypeChange, ...]
    """The same, summed by pairs of types, by bytes in descending order."""
    same_tensors: int
    """Tensors with the same type and shape in both; their data is not compared."""
    metadata: Mapping[str, tuple[FoldedValue | None, FoldedValue | None]]
    """Keys with different values, or in one file only."""


def compare(first: Inspection, second: Inspection) -> Difference:
    """Compare two model files."""
    mine = {tensor.name: tensor for tensor in first.tensors}
    theirs = {tensor.name: tensor for tensor in second.tensors}
    changes = []
    sums: dict[tuple[str, str], list[int]] = {}
    for name in dict.fromkeys((*mine, *theirs)):
        one, other = mine.get(name), theirs.get(name)
        if one and other and (one.type, one.shape) == (other.type, other.shape):
            continue
        changes.append(TensorChange(name, one, other))
        entry = sums.setdefault((one.type.name if one else "", other.type.name if other else ""), [0, 0, 0])
        entry[0] += 1
        entry[1] += one.size_bytes if one else 0
        entry[2] += other.size_bytes if other else 0
    types = sorted((TypeChange(*pair, *entry) for pair, entry in sums.items()), key=lambda c: -c.first_bytes)
    keys = dict.fromkeys((*first.metadata, *second.metadata))
    metadata = {
        key: (first.metadata.get(key), second.metadata.get(key))
        for key in keys
        if first.metadata.get(key) != second.metadata.get(key)
    }
    return Difference(tuple(changes), tuple(types), len({*mine, *theirs}) - len(changes), metadata)
