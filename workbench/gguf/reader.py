"""Reader of the header of a GGUF file, in pure Python, which validates every byte.

Its limits are those of ggml's reader or stricter, because llama.cpp aborts the process for some malformed headers: a
header that passes here has at least the form that ggml requires.
"""

from __future__ import annotations

import shlex
import struct
import sys
from array import array
from collections.abc import Container, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from workbench.core.errors import ModelFileError
from workbench.core.units import size_pair, size_text
from workbench.gguf.cursor import (
    MAX_STRING,
    EndOfFileError,
    HeaderCursor,
    KnownStrings,
    StringTooLongError,
    open_regular,
)
from workbench.gguf.header import Array, Header, TensorInfo, Value
from workbench.gguf.names import parse_piece, piece_order
from workbench.gguf.sniff import identify
from workbench.gguf.types import REMOVED_TENSOR_TYPES, TENSOR_TYPES, TensorType, ValueType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_METADATA_KEYS = 65_536
MAX_TENSORS = 100_000
MAX_ARRAY = 64 << 20
"""The longest accepted array, in elements."""
MAX_KEPT_BYTES = 32 << 20
"""Total text in the metadata at most, in bytes, where no array is requested."""
SHORT_ARRAY = 1024
"""Arrays up to this length are always read; lists with one number per layer have at most 512."""
MAX_KEY_BYTES = 65_535
MAX_TENSOR_NAME_BYTES = 63
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32
_INT64_MAX = 2**63 - 1

_DAMAGED = "The file is damaged, or was written wrongly: download it again, or from another source."
_INCOMPLETE = "The download is incomplete: resume it, or download the file again."

_CODES: Mapping[ValueType, str] = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "?",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
"""The codes of `struct`; `array` has the same ones, except for booleans."""
_SCALARS = {kind: struct.Struct(f"<{code}") for kind, code in _CODES.items()}

_TENSOR_FORMS = tuple(struct.Struct(f"<{count}QIQ") for count in range(MAX_DIMENSIONS + 1))
"""Formats of sizes, type and offset of a tensor, by its number of dimensions."""


def read_header(
    path: str | PathLike[str], *, arrays: bool | Container[str] = False, known: KnownStrings | None = None
) -> Header:
    """Read the header of the GGUF file `path`, and check that the file contains all tensor data.

    `arrays` states whether to read the elements of long arrays, or the keys of those to read. Of the others, only
    length and element type are known; short arrays are always read. `known` caches string arrays that files share.

    Raises:
        ModelFileError: The file cannot be read, or is not a valid GGUF file.
    """
    place = Path(path)
    _refuse_piece(place)
    with open_regular(place) as (descriptor, size):
        return _HeaderReader(place, HeaderCursor(descriptor, size, known), arrays).read()


def _refuse_piece(path: Path) -> None:
    piece = parse_piece(path.name)
    if piece is None:
        return
    siblings = [path.name]
    with suppress(OSError, ValueError):
        siblings = [child.name for child in path.parent.iterdir()]
    names = sorted(filter(piece.is_beside, siblings), key=piece_order)
    raise ModelFileError(
        f"{path}: incomplete: this is one piece of {piece.whole}.",
        f"Join all pieces: cat {' '.join(map(shlex.quote, names))} > {shlex.quote(piece.whole)}",
    )


class _HeaderReader:
    """Reads one header. `_where` is the part being read, for error messages."""

    def __init__(self, path: Path, cursor: HeaderCursor, arrays: bool | Container[str]) -> None:
        self._path = path
        self._cursor = cursor
        self._arrays = arrays
        self._where = "the file header"
        self._kept = 0

    def read(self) -> Header:
        """The whole header."""
        try:
            version, tensor_count, key_count = self._preamble()
            metadata, value_types = self._metadata(key_count)
            alignment = self._alignment(metadata, value_types)
            tensors = self._tensors(tensor_count, alignment)
        except EndOfFileError:
            self._fail(f"the file ends in {self._where}, at byte {self._cursor.size}", _INCOMPLETE)
        except StringTooLongError:
            self._fail(f"a text in {self._where} claims to be longer than {size_text(MAX_STRING)}")
        end = self._cursor.offset
        data_offset = -(-end // alignment) * alignment if tensors else end
        size = self._cursor.size
        needed = max((data_offset + tensor.offset + tensor.size_bytes for tensor in tensors), default=0)
        if needed > size:
            missing = needed - size
            amount = size_pair(missing, needed) if 1000 * missing > needed else size_text(missing)
            self._fail(f"truncated: {amount} are missing at its end", _INCOMPLETE)
        with suppress(EndOfFileError):  # The file may shrink meanwhile.
            self._refuse_joined(max(needed, data_offset), alignment)
        return Header(str(self._path), version, metadata, value_types, tensors, alignment, data_offset, size)

    def _refuse_joined(self, end: int, alignment: int) -> None:
        """Refuse a file in which another one begins after the tensor data, which llama.cpp would ignore."""
        if self._cursor.size - end <= alignment:
            return
        for place in (end, -(-end // alignment) * alignment):
            if place + len(MAGIC) > self._cursor.size:
                return
            self._cursor.skip(place - self._cursor.offset)
            if self._cursor.peek(len(MAGIC)) == MAGIC:
                self._fail(
                    f"several GGUF files were joined to one, in which the second begins at byte {place}",
                    "The parts of a split model cannot be joined with `cat`: cut them apart again, or get the parts "
                    "and join them with `llama-gguf-split --merge`.",
                )

    def _fail(self, what: str, hint: str = _DAMAGED) -> NoReturn:
        raise ModelFileError(f"{self._path}: {what}.", hint)

    def _preamble(self) -> tuple[int, int, int]:
        cursor = self._cursor
        start = cursor.peek(64)
        if start[:4] != MAGIC:
            what, hint = identify(start)
            self._fail(f"not a GGUF file: {what}", hint)
        version, tensor_count, key_count = struct.unpack_from("<IQQ", cursor.take(24), 4)
        if version and version & 0xFFFFFF == 0:
            self._fail(
                "a big-endian GGUF file, which llama.cpp cannot read on this machine",
                "Get the little-endian file, or convert it with `gguf-convert-endian` of the gguf package.",
            )
        if version == 0:
            self._fail("GGUF version 0, which does not exist")
        if version == 1:
            self._fail("GGUF version 1, which llama.cpp no longer reads", "Get a newer file of this model.")
        if version not in VERSIONS:
            self._fail(f"GGUF version {version}; versions 2 and 3 are known", "A newer workbench may read it.")
        if key_count > MAX_METADATA_KEYS:
            self._fail(f"the header claims {key_count} metadata keys; at most {MAX_METADATA_KEYS} are accepted")
        if tensor_count > MAX_TENSORS:
            self._fail(f"the header claims {tensor_count} tensors; at most {MAX_TENSORS} are accepted")
        return version, tensor_count, key_count

    def _metadata(self, count: int) -> tuple[dict[str, Value], dict[str, ValueType]]:
        values: dict[str, Value] = {}
        types: dict[str, ValueType] = {}
        for number in range(count):
            self._where = f"metadata key {number}"
            key = self._key(number)
            if key in values:
                self._fail(f"the metadata key {key!r} is duplicated")
            self._where = f"the metadata key {key!r}"
            kind = self._value_type()
            types[key] = kind
            values[key] = self._array(key) if kind is ValueType.ARRAY else self._scalar(kind)
        return values, types

    def _key(self, number: int) -> str:
        raw = self._cursor.string()
        if not raw or len(raw) > MAX_KEY_BYTES or b"\0" in raw:
            self._fail(f"the name of metadata key {number} is {'too long or not valid' if raw else 'empty'}")
        self._keep(len(raw))
        return raw.decode("utf-8", "backslashreplace")

    def _keep(self, count: int) -> None:
        self._kept += count
        if self._kept > MAX_KEPT_BYTES and not self._arrays:
            self._fail(f"the metadata has more than {size_text(MAX_KEPT_BYTES)} of text")

    def _value_type(self) -> ValueType:
        number = self._cursor.u32()
        try:
            return ValueType(number)
        except ValueError:
            self._fail(f"{self._where} has the unknown value type {number}")

    def _scalar(self, kind: ValueType) -> bool | int | float | str:
        if kind is ValueType.STRING:
            return self._text()
        form = _SCALARS[kind]
        value: bool | int | float = form.unpack(self._cursor.take(form.size))[0]
        return value

    def _text(self, errors: str = "replace") -> str:
        raw = self._cursor.string()
        self._keep(len(raw))
        return raw.decode("utf-8", errors)

    def _array(self, key: str) -> Array:
        cursor = self._cursor
        kind = self._value_type()
        if kind is ValueType.ARRAY:
            self._fail(f"{self._where} is an array of arrays, which ggml does not support")
        length = cursor.u64()
        if length > MAX_ARRAY:
            self._fail(f"{self._where} claims {length} elements; at most {MAX_ARRAY} are accepted")
        width = 8 if kind is ValueType.STRING else _SCALARS[kind].size
        if length * width > cursor.remaining:
            self._fail(f"{self._where} claims {length} elements, more than the rest of the file holds", _INCOMPLETE)
        wanted = length <= SHORT_ARRAY or (self._arrays if isinstance(self._arrays, bool) else key in self._arrays)
        if not wanted:
            if kind is ValueType.STRING:
                cursor.skip_strings(length)
            else:
                cursor.skip(length * width)
            return Array(kind, length, None)
        if kind is ValueType.STRING:
            return Array(kind, length, [self._text("surrogateescape") for _ in range(length)])
        raw = cursor.take(length * width)
        is_bool = kind is ValueType.BOOL
        return Array(kind, length, list(map(bool, raw)) if is_bool else numbers_of(_CODES[kind], raw))

    def _alignment(self, metadata: Mapping[str, Value], types: Mapping[str, ValueType]) -> int:
        key = "general.alignment"
        if key not in metadata:
            return DEFAULT_ALIGNMENT
        alignment = metadata[key]
        if types[key] is not ValueType.UINT32 or not isinstance(alignment, int):
            self._fail(f"the metadata key {key!r} has the type {types[key].name} and not UINT32")
        if alignment == 0 or alignment & (alignment - 1):
            self._fail(f"the metadata key {key!r} is {alignment} and not a power of two")
        return alignment

    def _tensors(self, count: int, alignment: int) -> tuple[TensorInfo, ...]:
        tensors: list[TensorInfo] = []
        names: set[str] = set()
        expected = 0
        for number in range(count):
            self._where = f"the description of tensor {number}"
            tensor = self._tensor(number)
            if tensor.name in names:
                self._fail(f"the tensor {tensor.name!r} is duplicated")
            if tensor.offset != expected:
                self._fail(f"the tensor {tensor.name!r} has the offset {tensor.offset} instead of {expected}")
            expected += -(-tensor.size_bytes // alignment) * alignment
            names.add(tensor.name)
            tensors.append(tensor)
        return tuple(tensors)

    def _tensor(self, index: int) -> TensorInfo:
        cursor = self._cursor
        raw = cursor.string()
        if len(raw) > MAX_TENSOR_NAME_BYTES or b"\0" in raw:
            self._fail(f"the name of tensor {index} is longer than {MAX_TENSOR_NAME_BYTES} bytes or not valid")
        name = raw.decode("utf-8", "backslashreplace")
        self._where = f"the description of the tensor {name!r}"
        dimensions = cursor.u32()
        if dimensions > MAX_DIMENSIONS:
            self._fail(f"the tensor {name!r} has {dimensions} dimensions; at most {MAX_DIMENSIONS} are supported")
        # These are most of a header, so each is unpacked in one call.
        form = _TENSOR_FORMS[dimensions]
        *sizes, number, offset = form.unpack(cursor.take(form.size))
        shape = tuple(sizes)
        elements = 1
        for size in shape:
            elements *= size
            if size > _INT64_MAX or elements > _INT64_MAX:
                self._fail(f"the tensor {name!r} has the impossible shape {sizes}")
        kind = self._tensor_type(name, number)
        row = shape[0] if shape else 1
        if row % kind.block:
            self._fail(f"the tensor {name!r} has rows of {row}, not a multiple of {kind.name}'s block of {kind.block}")
        return TensorInfo(name, shape, kind, offset, elements, kind.row_bytes(elements))

    def _tensor_type(self, name: str, number: int) -> TensorType:
        kind = TENSOR_TYPES.get(number)
        if kind is not None:
            return kind
        if number in REMOVED_TENSOR_TYPES:
            what, hint = f"the type {number}, which llama.cpp no longer reads", "Get a newer file of this model."
        else:
            what, hint = f"the unknown type {number}", "A newer workbench may read it, or the file is damaged."
        self._fail(f"the tensor {name!r} has {what}", hint)


def numbers_of(code: str, raw: bytes) -> array[Any]:
    """Little-endian numbers of a type code of `array`."""
    numbers = array(code, raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
