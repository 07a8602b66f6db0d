from __future__ import annotations

import os
import socket
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import ModelFileError
from workbench.gguf import cursor
from workbench.gguf.header import Array, Header
from workbench.gguf.reader import MAX_ARRAY, MAX_KEPT_BYTES, MAX_TENSORS, read_header
from workbench.gguf.types import TENSOR_TYPES, ValueType


def write(folder: Path, content: bytes, name: str = "model.gguf") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path) -> ModelFileError:
    with pytest.raises(ModelFileError) as caught:
        read_header(path)
    assert str(path) in caught.value.message or repr(str(path)) in caught.value.message
    return caught.value


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


# What is no GGUF file.


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"", "empty", "again"),
        (b"\0" * 4096, "zero bytes", "not finished"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page", "again"),
        (b"\n  <html lang='en'>", "web page", "again"),
        (b"tjgg\x03\0\0\0", "older GGML format", "as a GGUF"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(64), "companion of a file", "without the leading"),
        (struct.pack("<Q", 60) + b'{"__metadata__":{}', "safetensors", "as a GGUF"),
        (b"PK\x03\x04rest", "archive", "as a GGUF"),
        (b"Invalid username or password.", "Invalid username or password.", "error message"),
        (b'{"error":"Entry not found"}', "Entry not found", "error message"),
        (bytes(range(128, 200)), "80 81 82 83", "again"),
        (b"GG", "47 47", "again"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else None,
)
def test_other_files_are_recognised(tmp_path: Path, content: bytes, said: str, hint: str) -> None:
    error = refusal(write(tmp_path, content))
    assert said in error.message
    assert hint in error.hint


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    assert "named pipe" in refusal(path).message


def test_a_device_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zero.gguf"
    path.symlink_to("/dev/zero")
    assert "device" in refusal(path).message


def test_a_socket_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.gguf")
        assert "socket" in refusal(tmp_path / "s.gguf").message


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "directory" in refusal(tmp_path).message


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "no.gguf").message
    assert "folder" in refusal(tmp_path / "nowhere" / "no.gguf").hint


def test_a_broken_link(tmp_path: Path) -> None:
    path = tmp_path / "link.gguf"
    path.symlink_to(tmp_path / "gone.gguf")
    assert "symbolic link" in refusal(path).hint


def test_a_loop_of_links(tmp_path: Path) -> None:
    path = tmp_path / "loop.gguf"
    path.symlink_to(path)
    refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path, raw) -> None:
    path = write(tmp_path, raw.file())
    path.chmod(0)
    assert "not permitted" in refusal(path).message


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("open", PermissionError(13, "Permission denied"), "not permitted"),
        ("read", OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_errors_of_the_system_are_translated(tmp_path: Path, raw, monkeypatch, call, error, said) -> None:
    path = write(tmp_path, raw.file())

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    assert said in refusal(path).message


def test_an_invalid_path() -> None:
    with pytest.raises(ModelFileError):
        read_header("a\0b.gguf")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 5000))


def test_spaces_and_other_letters_in_the_path(tmp_path: Path, raw) -> None:
    folder = tmp_path / "mein Ordner 模型"
    folder.mkdir()
    assert read_header(write(folder, raw.file(), "ein Modell é.gguf")).tensors == ()


# What is broken.


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (0, "version 0"),
        (1, "version 1"),
        (4, "version 4"),
        (0x03000000, "big-endian"),
        (0x02000000, "big-endian"),
        (0x00030000, "version 196608"),
    ],
)
def test_versions_that_are_refused(tmp_path: Path, raw, version: int, said: str) -> None:
    assert said in refusal(write(tmp_path, raw.file(version=version))).message


@pytest.mark.parametrize("tensors", [0, 1])
@pytest.mark.parametrize("aligned", [True, False])
def test_files_that_were_joined_are_refused(tmp_path: Path, raw, tensors: int, aligned: bool) -> None:
    first = raw.file([raw.string("name", "split")], [raw.tensor("t", (8,))][:tensors], data=bytes(32) * tensors)
    if not aligned and not tensors:
        first = first.rstrip(b"\0")
    error = refusal(write(tmp_path, first + raw.file([], [raw.tensor("u", (8,))], data=bytes(32))))
    assert f"joined to one, in which the second begins at byte {len(first)}" in error.message
    assert "llama-gguf-split --merge" in error.hint


@pytest.mark.parametrize("rest", [b"x" * 100, b"GGU", b"\0" * 32 + b"x" * 8, b""])
def test_other_data_after_the_tensors_is_no_second_file(tmp_path: Path, raw, rest: bytes) -> None:
    assert read_header(write(tmp_path, raw.file([], [raw.tensor("t", (8,))], data=bytes(32)) + rest)).tensors


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["a b.gguf.part1of2", "a b.gguf.part2of2"], "cat 'a b.gguf.part1of2' 'a b.gguf.part2of2' > 'a b.gguf'"),
        (["m.gguf-split-b", "m.gguf-split-a", "n.gguf-split-a"], "cat m.gguf-split-a m.gguf-split-b > m.gguf"),
        ([f"m.gguf.part{n}" for n in (1, 10, 2)], "cat m.gguf.part1 m.gguf.part2 m.gguf.part10 > m.gguf"),
        (["m.GGUF.001", "m.GGUF.002"], "cat m.GGUF.001 m.GGUF.002 > m.GGUF"),
    ],
)
def test_a_piece_of_a_file_says_how_to_join_the_pieces(tmp_path: Path, raw, names: list[str], hint: str) -> None:
    whole = raw.file([], [raw.tensor("t", (8,))], data=bytes(32))
    for name in names:
        write(tmp_path, whole[:40], name)
    for name in names:
        if name.startswith(names[0][:1]):
            error = refusal(tmp_path / name)
            assert "incomplete: this is one piece of" in error.message
            assert error.hint == f"Join all pieces: {hint}"


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


# What chance makes of a file.

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
