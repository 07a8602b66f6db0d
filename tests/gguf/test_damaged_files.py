"""Damaged and lying headers are refused, and take little memory."""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gguf.reading import refusal, write
from workbench.core.errors import ModelFileError
from workbench.gguf.reader import MAX_ARRAY, MAX_KEPT_BYTES, MAX_TENSORS, read_header

DATA = b"\0" * 4096
BROKEN: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "key count": (lambda r: r.file([r.u32("a", 1)], key_count=2**63), "metadata keys"),
    "tensor count": (lambda r: r.file([], [r.tensor("t")], tensor_count=MAX_TENSORS + 1), "tensors"),
    "one key too many": (lambda r: r.file([r.u32("a", 1)], key_count=2), "is empty"),
    "nothing after the counts": (lambda r: r.file(key_count=1, alignment=1), "ends in metadata key 0"),
    "nothing after a key": (lambda r: r.file([r.text("k" * 24)], key_count=1, alignment=1), "the metadata key"),
    "empty key": (lambda r: r.file([r.u32("", 1)]), "empty"),
    "long key": (lambda r: r.file([r.u32("k" * 65_536, 1)]), "too long"),
    "zero byte in key": (lambda r: r.file([r.u32("a\0b", 1)]), "not valid"),
    "duplicate key": (lambda r: r.file([r.u32("a", 1), r.u32("a", 2)]), "'a' is duplicated"),
    "value type": (lambda r: r.file([r.key("a", 13, b"\0" * 8)]), "value type 13"),
    "element type": (lambda r: r.file([r.array("a", 99, 1, b"\0" * 8)]), "value type 99"),
    "nested array": (lambda r: r.file([r.array("a", r.ARRAY, 1, b"\0" * 24)]), "array of arrays"),
    "string length": (lambda r: r.file([r.key("a", r.STRING, struct.pack("<Q", 2**62))]), "claims to be longer"),
    "string beyond the end": (lambda r: r.file([r.key("a", r.STRING, struct.pack("<Q", 2**20))]), "the file ends in"),
    "array length": (lambda r: r.file([r.array("a", r.UINT32, MAX_ARRAY + 1)]), "elements"),
    "array beyond the end": (lambda r: r.file([r.array("a", r.UINT32, 2**20)]), "more than the rest"),
    "string array beyond the end": (lambda r: r.file([r.array("a", r.STRING, 2**20)]), "more than the rest"),
    "lying string in an array": (
        lambda r: r.file([r.array("a", r.STRING, 2000, struct.pack("<Q", 2**63) + b"\0" * 16_000)]),
        "claims to be longer",
    ),
    "string in an array beyond the end": (
        lambda r: r.file([r.array("a", r.STRING, 2000, struct.pack("<Q", 2**20) + b"\0" * 16_000)]),
        "the file ends in",
    ),
    "alignment type": (lambda r: r.file([r.string("general.alignment", "32")]), "UINT32"),
    "alignment of the wrong width": (
        lambda r: r.file([r.key("general.alignment", r.UINT64, struct.pack("<Q", 32))]),
        "UINT32",
    ),
    "alignment 0": (lambda r: r.file([r.u32("general.alignment", 0)]), "power of two"),
    "alignment 48": (lambda r: r.file([r.u32("general.alignment", 48)]), "power of two"),
    "tensor name": (lambda r: r.file([], [r.tensor("t" * 64)], data=DATA), "longer than 63"),
    "zero byte in a tensor name": (lambda r: r.file([], [r.tensor("t\0x")], data=DATA), "not valid"),
    "duplicate tensor": (
        lambda r: r.file([], [r.tensor("t"), r.tensor("t", offset=128)], data=DATA),
        "'t' is duplicated",
    ),
    "dimensions": (lambda r: r.file([], [r.tensor("t", (1, 1, 1, 1, 1))], data=DATA), "5 dimensions"),
    "shape": (lambda r: r.file([], [r.tensor("t", (2**32, 2**32))], data=DATA), "impossible shape"),
    "negative dimension": (lambda r: r.file([], [r.tensor("t", (2**63, 0))], data=DATA), "impossible shape"),
    "unknown tensor type": (lambda r: r.file([], [r.tensor("t", kind=43)], data=DATA), "unknown type 43"),
    "removed tensor type": (lambda r: r.file([], [r.tensor("t", kind=31)], data=DATA), "no longer reads"),
    "rows and blocks": (lambda r: r.file([], [r.tensor("t", (48,), kind=2)], data=DATA), "block of 32"),
    "first offset": (lambda r: r.file([], [r.tensor("t", offset=32)], data=DATA), "offset 32 instead of 0"),
    "second offset": (
        lambda r: r.file([], [r.tensor("a"), r.tensor("b", offset=64)], data=DATA),
        "offset 64 instead of 128",
    ),
    "missing data": (lambda r: r.file([], [r.tensor("t", (1024,))], data=b"\0" * 96), "3.9 of 4.1 KiB"),
    "no data at all": (lambda r: r.file([], [r.tensor("t", (2**40,))]), "are missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_headers_are_refused(tmp_path: Path, raw, name: str) -> None:
    make, said = BROKEN[name]
    assert said in refusal(write(tmp_path, make(raw))).message


def test_missing_data_is_counted(tmp_path: Path, raw) -> None:
    content = raw.file([], [raw.tensor("t", (1024,))], data=b"\0" * 96)
    error = refusal(write(tmp_path, content))
    assert "3.9 of 4.1 KiB are missing" in error.message
    assert "download" in error.hint


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, raw, monkeypatch) -> None:
    path = write(tmp_path, raw.file([raw.string("a", "x" * 5000)]))
    real_read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, count: real_read(descriptor, min(count, 40))[:40])
    monkeypatch.setattr(os, "lseek", lambda *_: os.truncate(path, 100))
    assert "the file ends in" in refusal(path).message


def test_truncated_anywhere(tmp_path: Path, tiny_model: Path) -> None:
    content = tiny_model.read_bytes()
    data_offset = read_header(tiny_model).data_offset
    lengths = [*range(64), *range(64, data_offset, 53), *range(data_offset, len(content), 9973), len(content) - 1]
    for length in lengths:
        refusal(write(tmp_path, content[:length]))


@pytest.mark.parametrize("lie", [2**20, 2**24, 2**24 + 1, 2**30, 2**40, 2**63, 2**64 - 1])
@pytest.mark.parametrize("place", ["keys", "tensors", "key", "string", "array", "strings", "dimension"])
def test_a_lying_length_takes_no_memory(tmp_path: Path, raw, place: str, lie: int) -> None:
    long = struct.pack("<Q", lie)
    content = {
        "keys": raw.file([raw.u32("a", 1)], key_count=lie),
        "tensors": raw.file([], [raw.tensor("t")], tensor_count=lie, data=DATA),
        "key": raw.file([long], key_count=1),
        "string": raw.file([raw.key("a", raw.STRING, long)]),
        "array": raw.file([raw.array("a", raw.UINT64, lie)]),
        "strings": raw.file([raw.array("a", raw.STRING, lie)]),
        "dimension": raw.file([], [raw.tensor("t", (lie,))], data=DATA),
    }[place]
    path = write(tmp_path, content + b"\0" * 65_536)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            read_header(path, arrays=True)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_lying_length_in_a_big_file_takes_little_memory(tmp_path: Path, raw) -> None:
    """The length fits in the file, so that only the narrower limit speaks against it. The file is sparse."""
    path = write(tmp_path, raw.file([raw.key("a", raw.STRING, struct.pack("<Q", 1 << 29))]))
    os.truncate(path, 1 << 30)
    tracemalloc.start()
    try:
        refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_much_text_is_refused(tmp_path: Path, raw) -> None:
    texts = [raw.string(f"k{number}", b"x" * (8 << 20)) for number in range(5)]
    assert sum(map(len, texts)) > MAX_KEPT_BYTES
    assert "MiB of text" in refusal(write(tmp_path, raw.file(texts))).message


EXAMPLES = settings(max_examples=150)


def read_or_refuse(path: Path) -> None:
    try:
        header = read_header(path, arrays=True)
    except ModelFileError:
        return
    assert all(tensor.size_bytes >= 0 for tensor in header.tensors)
    assert header.data_offset + header.tensor_bytes <= header.file_size


@EXAMPLES
@given(st.binary(max_size=400))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    read_or_refuse(write(tmp_path, content))


@EXAMPLES
@given(st.binary(max_size=400))
def test_random_bytes_after_a_sound_beginning(tmp_path: Path, content: bytes) -> None:
    read_or_refuse(write(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 2, 3) + content))


@EXAMPLES
@given(st.data())
def test_flipped_bits(tmp_path: Path, tiny_model: Path, data: st.DataObject) -> None:
    content = bytearray(tiny_model.read_bytes())
    header_bits = read_header(tiny_model).data_offset * 8
    for bit in data.draw(st.lists(st.integers(0, header_bits - 1), min_size=1, max_size=4)):
        content[bit // 8] ^= 1 << bit % 8
    read_or_refuse(write(tmp_path, bytes(content)))
