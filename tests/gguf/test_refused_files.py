"""What is no model file, and what cannot be opened, is refused with a hint."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from tests.gguf.reading import refusal, write
from workbench.core.errors import ModelFileError
from workbench.gguf.reader import read_header


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
