from __future__ import annotations

import struct
from pathlib import Path

import gguf
import pytest

from tests.gguf.reading import write
from workbench.gguf import cursor
from workbench.gguf.header import Array, Header
from workbench.gguf.reader import read_header
from workbench.gguf.types import TENSOR_TYPES, ValueType


def compare_with_gguf_package(path: Path) -> Header:
    header = read_header(path, arrays=True)
    reference = gguf.GGUFReader(path)
    fields = {name: field for name, field in reference.fields.items() if not name.startswith("GGUF.")}
    assert header.version == reference.fields["GGUF.version"].contents()
    assert list(header.metadata) == list(fields)
    for name, field in fields.items():
        value = header.metadata[name]
        assert int(header.value_types[name]) == int(field.types[0]), name
        if isinstance(value, Array):
            assert int(value.element_type) == int(field.types[-1]), name
            assert value.values is not None
            assert list(value.values) == field.contents(), name
            assert value.length == len(field.data), name
        else:
            assert value == field.contents(), name
    assert header.alignment == reference.alignment
    if header.tensors:
        assert header.data_offset == reference.data_offset
    assert len(header.tensors) == len(reference.tensors)
    for tensor, other in zip(header.tensors, reference.tensors, strict=True):
        assert tensor.name == other.name
        assert tensor.type.name == other.tensor_type.name
        assert list(tensor.shape) == other.shape.tolist()
        assert tensor.elements == other.n_elements
        assert tensor.size_bytes == other.n_bytes
        assert header.data_offset + tensor.offset == other.data_offset
    return header


def test_agrees_with_the_gguf_package_on_the_demo_model(demo_path: Path) -> None:
    header = compare_with_gguf_package(demo_path)
    assert header.metadata["general.architecture"] == "llama"


def test_agrees_with_the_gguf_package_on_a_written_model(tiny_model: Path) -> None:
    compare_with_gguf_package(tiny_model)


def test_agrees_with_the_gguf_package_on_every_value_type(tmp_path: Path) -> None:
    path = tmp_path / "values.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("a.u8", 255)
    writer.add_int8("a.i8", -128)
    writer.add_uint16("a.u16", 65535)
    writer.add_int16("a.i16", -32768)
    writer.add_uint32("a.u32", 2**32 - 1)
    writer.add_int32("a.i32", -(2**31))
    writer.add_float32("a.f32", 0.5)
    writer.add_uint64("a.u64", 2**64 - 1)
    writer.add_int64("a.i64", -(2**63))
    writer.add_float64("a.f64", 1e300)
    writer.add_bool("a.yes", True)
    writer.add_bool("a.no", False)
    writer.add_string("a.text", "ünïcode 🦙")
    writer.add_array("a.ints", [1, -2, 3])
    writer.add_array("a.floats", [0.5, 1.5])
    writer.add_array("a.bools", [True, False, True])
    writer.add_array("a.texts", ["a", "", "🦙" * 500])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    header = compare_with_gguf_package(path)
    assert header.metadata["a.yes"] is True
    assert header.metadata["a.u64"] == 2**64 - 1


# The package takes Q8_1 for 40 bytes; ggml's block is 36 since the scale and the sum in it are halves.
KNOWN_TO_THE_PACKAGE = [
    kind for kind in TENSOR_TYPES.values() if kind.name in gguf.GGMLQuantizationType.__members__ and kind.name != "Q8_1"
]


@pytest.mark.parametrize("kind", KNOWN_TO_THE_PACKAGE, ids=lambda kind: kind.name)
def test_tensor_types_agree_with_the_gguf_package(kind) -> None:
    reference = gguf.GGMLQuantizationType[kind.name]
    assert reference.value == kind.id
    assert gguf.GGML_QUANT_SIZES[reference] == (kind.block, kind.block_bytes)


@pytest.mark.parametrize("version", [2, 3])
def test_reads_both_versions(tmp_path: Path, raw, version: int) -> None:
    header = read_header(write(tmp_path, raw.file([raw.u32("a", 7)], version=version)))
    assert (header.version, header.metadata) == (version, {"a": 7})


def test_long_arrays_are_skipped_and_described(demo_path: Path) -> None:
    tokens = read_header(demo_path).metadata["tokenizer.ggml.tokens"]
    assert tokens == Array(ValueType.STRING, 49152, None)


def test_only_the_arrays_that_are_named_are_read(demo_path: Path) -> None:
    header = read_header(demo_path, arrays={"tokenizer.ggml.tokens"})
    tokens, merges = header.metadata["tokenizer.ggml.tokens"], header.metadata["tokenizer.ggml.merges"]
    assert isinstance(tokens, Array)
    assert tokens.values is not None
    assert tokens.values[:2] == ["<|endoftext|>", "<|im_start|>"]
    assert merges == Array(ValueType.STRING, 48900, None)


def test_skipping_and_reading_end_at_the_same_place(demo_path: Path) -> None:
    assert read_header(demo_path).tensors == read_header(demo_path, arrays=True).tensors


def test_short_arrays_are_always_read(tmp_path: Path, raw) -> None:
    content = raw.file([raw.array("heads", raw.INT32, 3, struct.pack("<3i", 4, 0, 2))])
    heads = read_header(write(tmp_path, content)).metadata["heads"]
    assert isinstance(heads, Array)
    assert list(heads.values or ()) == [4, 0, 2]


@pytest.mark.parametrize("window", [8, 9, 15, 64, 1000])
def test_strings_are_skipped_alike_through_any_window(tmp_path: Path, raw, window: int, monkeypatch) -> None:
    texts = [b"x" * (length % 37) for length in range(2000)]
    array = raw.array("texts", raw.STRING, len(texts), b"".join(raw.text(text) for text in texts))
    path = write(tmp_path, raw.file([array, raw.u32("after", 5)], [raw.tensor("t")], data=b"\0" * 128))
    monkeypatch.setattr(cursor, "WINDOW_BYTES", window)
    header = read_header(path)
    assert header.metadata["texts"] == Array(ValueType.STRING, 2000, None)
    assert header.metadata["after"] == 5
    assert [tensor.name for tensor in header.tensors] == ["t"]


def test_bytes_that_are_no_utf8(tmp_path: Path, raw) -> None:
    texts = raw.array("texts", raw.STRING, 2, raw.text(b"\xff") + raw.text(b"\xfe"))
    header = read_header(write(tmp_path, raw.file([raw.string("name", b"a\xffb"), raw.u32(b"k\xff", 1), texts])))
    assert header.metadata["name"] == "a\N{REPLACEMENT CHARACTER}b"
    assert header.metadata["k\\xff"] == 1
    array = header.metadata["texts"]
    assert isinstance(array, Array)
    assert array.values is not None
    assert [str(text).encode("utf-8", "surrogateescape") for text in array.values] == [b"\xff", b"\xfe"]


def test_alignment_from_the_file(tmp_path: Path, raw) -> None:
    tensors = [raw.tensor("a", (4,), 0, 0), raw.tensor("b", (4,), 0, 128)]
    content = raw.file([raw.u32("general.alignment", 128)], tensors, alignment=128, data=b"\0" * 144)
    header = read_header(write(tmp_path, content))
    assert header.alignment == 128
    assert header.data_offset % 128 == 0


def test_the_last_tensor_needs_no_padding(tmp_path: Path, raw) -> None:
    read_header(write(tmp_path, raw.file([], [raw.tensor("a", (1,))], data=b"\0" * 4)))


def test_a_tensor_without_dimensions_has_one_element(tmp_path: Path, raw) -> None:
    (tensor,) = read_header(write(tmp_path, raw.file([], [raw.tensor("a", ())], data=b"\0" * 4))).tensors
    assert (tensor.elements, tensor.size_bytes) == (1, 4)


def test_a_tensor_may_be_empty(tmp_path: Path, raw) -> None:
    (tensor,) = read_header(write(tmp_path, raw.file([], [raw.tensor("a", (32, 0))]))).tensors
    assert tensor.size_bytes == 0
