"""Importance matrices of llama-imatrix, which state how much each column of a tensor matters for a text.

There are two formats: a GGUF file with the sums and counts of each tensor, and an older one, a plain list.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from workbench.core.errors import ImatrixError, ModelFileError
from workbench.gguf.cursor import open_regular
from workbench.gguf.header import Array, Header
from workbench.gguf.model import get_int
from workbench.gguf.reader import MAGIC, numbers_of, read_header

MAX_ENTRIES = 100_000
MAX_NAME_BYTES = 4096
_SUMS, _COUNTS = ".in_sum2", ".counts"
_MAKE_ONE = "llama-imatrix makes one: llama-imatrix -m MODEL -f TEXT -o FILE"


@dataclass(frozen=True, slots=True)
class ImatrixEntry:
    """The measurements of one tensor."""

    sums: array[float]
    """Sums of squared activations by column; for a mixture of experts, one expert after the other."""
    counts: tuple[float, ...]
    """The divisors of the sums, by expert; 0 for an expert that no token was routed to."""


@dataclass(frozen=True, slots=True)
class Imatrix:
    """An importance matrix."""

    path: str
    entries: Mapping[str, ImatrixEntry]
    """By the name of the tensor."""
    datasets: tuple[str, ...] = ()
    """The texts that it was measured on."""
    chunks: int = 0
    """Chunks of text that it was measured on; 0 where the file does not state it."""


def read_imatrix(path: Path) -> Imatrix:
    """Read an importance matrix in either format.

    Raises:
        ImatrixError: The file cannot be read, or is not an importance matrix.
    """
    try:
        with open_regular(path) as (descriptor, _):
            start = os.read(descriptor, len(MAGIC))
    except ModelFileError as error:
        raise ImatrixError(error.message, error.hint or _MAKE_ONE) from None
    matrix = _read_gguf(path) if start == MAGIC else _read_list(path)
    for name, entry in matrix.entries.items():
        # A sum is finite exactly if all of its parts are.
        total = sum(entry.sums) + sum(entry.counts)
        if not total - total == 0:
            raise ImatrixError(f"{path}: the values for {name!r} are not finite.", "Make it again with llama-imatrix.")
    return matrix


def check_imatrix(matrix: Imatrix, headers: Sequence[Header]) -> None:
    """Check that `matrix` was made for the model in `headers`.

    Raises:
        ImatrixError: It has none of its tensors, or one with another shape.
    """
    tensors = {tensor.name: tensor for header in headers for tensor in header.tensors}
    known = [name for name in matrix.entries if name in tensors]
    if not known:
        raise ImatrixError(f"{matrix.path}: it has none of this model's tensors.", "It was made for another model.")
    for name in known:
        shape, got = tensors[name].shape, len(matrix.entries[name].sums)
        wanted = shape[0] * (shape[2] if len(shape) > 2 else 1)
        if got != wanted and not name.endswith("token_embd.weight"):
            raise ImatrixError(
                f"{matrix.path}: it has {got} values for {name!r}, which has {wanted} columns.",
                "It was made for another model.",
            )


def _fail(path: Path, what: str) -> NoReturn:
    raise ImatrixError(f"{path}: not an importance matrix: {what}.", _MAKE_ONE)


def _read_gguf(path: Path) -> Imatrix:
    try:
        header = read_header(path, arrays=frozenset({"imatrix.datasets"}))
    except ModelFileError as error:
        raise ImatrixError(error.message, error.hint) from None
    tensors = {tensor.name: tensor for tensor in header.tensors}
    names = [name.removesuffix(_SUMS) for name in tensors if name.endswith(_SUMS)]
    if not names:
        _fail(path, "this is a model" if "general.architecture" in header.metadata else "it contains no sums")
    entries = {}
    with path.open("rb") as file:
        for name in names:
            sums, counts = tensors[name + _SUMS], tensors.get(name + _COUNTS)
            if counts is None or {sums.type.name, counts.type.name} != {"F32"}:
                _fail(path, f"the counts for {name!r} are missing or not F32")
            if not counts.elements or sums.elements % counts.elements:
                _fail(path, f"{sums.elements} sums and {counts.elements} counts for {name!r} do not match")
            entries[name] = ImatrixEntry(
                _floats(file, path, header.data_offset + sums.offset, sums.elements),
                tuple(_floats(file, path, header.data_offset + counts.offset, counts.elements)),
            )
    datasets = header.metadata.get("imatrix.datasets")
    named = datasets.values if isinstance(datasets, Array) and datasets.values else ()
    chunks = get_int(header.metadata, "imatrix.chunk_count") or 0
    return Imatrix(str(path), entries, tuple(map(str, named)), chunks)


def _floats(file: BinaryIO, path: Path, offset: int, count: int) -> array[float]:
    file.seek(offset)
    return numbers_of("f", _take(file, path, 4 * count))


def _take(file: BinaryIO, path: Path, count: int) -> bytes:
    raw = file.read(count)
    if len(raw) != count:
        _fail(path, "it is truncated")
    return raw


def _read_list(path: Path) -> Imatrix:
    """The older format: for each tensor its name, the number of calls, and values to divide by it."""
    entries = {}
    with path.open("rb") as file:
        size = path.stat().st_size

        def number() -> int:
            value: int = struct.unpack("<i", _take(file, path, 4))[0]
            return value

        count = number()
        if not 0 < count <= MAX_ENTRIES:
            _fail(path, f"it claims {count} tensors")
        for _ in range(count):
            length = number()
            if not 0 < length <= MAX_NAME_BYTES:
                _fail(path, f"it claims a tensor name of {length} bytes")
            name = _take(file, path, length).decode("utf-8", "replace")
            calls, values = number(), number()
            if not 0 < values <= size // 4:
                _fail(path, f"it claims {values} values for {name!r}")
            entries[name] = ImatrixEntry(numbers_of("f", _take(file, path, 4 * values)), (float(max(calls, 1)),))
        chunks = 0
        datasets: tuple[str, ...] = ()
        rest = file.read(8)
        if len(rest) == 8:
            chunks, length = struct.unpack("<ii", rest)
            text = file.read(length) if 0 < length <= MAX_NAME_BYTES else b""
            datasets = (text.decode("utf-8", "replace"),) if text else ()
    return Imatrix(str(path), entries, datasets, max(0, chunks))
