from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.core.errors import ModelfileError
from workbench.modelfile import source
from workbench.modelfile.source import is_modelfile, read_bytes, read_file


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("Modelfile", b"", True),
        ("MODELFILE", b"", True),
        ("modelfile.coder", b"", True),
        ("coder.Modelfile", b"\x00", True),
        ("coder", b"FROM x\n", True),
        ("coder.txt", b"\xff\xfeF\x00R\x00O\x00M\x00 \x00x\x00", True),
        ("notes.txt", b"Some words.\n", False),
        ("empty", b"", False),
        ("weights", b"GGUF\x03\x00\x00\x00", False),
        ("model.gguf", b"FROM x\n", False),
        ("large", b"FROM x\n" + b"#" * source.SNIFFED_BYTES, False),
    ],
)
def test_which_files_are_meant(tmp_path: Path, name: str, data: bytes, expected: bool) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert is_modelfile(path) is expected


def test_what_is_not_there_is_meant_by_its_name(tmp_path: Path) -> None:
    assert is_modelfile(tmp_path / "Modelfile")
    assert not is_modelfile(tmp_path / "coder")
    assert not is_modelfile(tmp_path)
    assert not is_modelfile(Path("a\0b"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such file"),
        (Path.mkdir, "a directory"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.write_bytes(b"GGUF\x03"), "a model (GGUF)"),
        (lambda path: path.symlink_to(path), "cannot be read"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, make, said: str) -> None:
    path = tmp_path / "Modelfile"
    make(path)
    with pytest.raises(ModelfileError) as caught:
        read_bytes(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message


def test_one_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_BYTES", 10)
    path = tmp_path / "Modelfile"
    path.write_bytes(b"FROM abcde")
    assert read_bytes(path) == b"FROM abcde"
    path.write_bytes(b"FROM abcdef")
    with pytest.raises(ModelfileError, match="at most"):
        read_bytes(path)


def test_an_error_names_the_file_and_how_many_more_there_are(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    path.write_text("FROM a\nPARAMETER temprature 1\nPARAMETER seed x\n")
    with pytest.raises(ModelfileError) as caught:
        read_file(path)
    assert caught.value.message == f"{path}: line 2, column 1: unknown parameter 'temprature'"
    assert caught.value.hint == "Did you mean 'temperature'? `workbench modelfile check` shows 1 more."


def test_ten_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "Modelfile"
    text = b'FROM a\nLICENSE """' + b"All rights, and many more words.\n" * 320_000 + b'"""\nSYSTEM b\n'
    assert len(text) > 10_000_000
    path.write_bytes(text)
    modelfile, _ = read_file(path)
    assert modelfile.system == "b"
    assert len(modelfile.licenses[0]) > 10_000_000
