from __future__ import annotations

import struct
from pathlib import Path

import pytest

from workbench.core.errors import ModelFileError
from workbench.gguf import cursor
from workbench.gguf.cursor import KnownStrings
from workbench.gguf.header import Array, Header
from workbench.gguf.reader import read_header
from workbench.gguf.types import ValueType

TEXTS = [b"token %d" % number for number in range(3000)]


@pytest.fixture
def vocabulary_file(tmp_path: Path, raw):
    def write(name: str, texts: list[bytes], cut: int | None = None) -> Path:
        array = raw.array("texts", raw.STRING, len(texts), b"".join(map(raw.text, texts)))
        path = tmp_path / name
        path.write_bytes(raw.file([array, raw.u32("after", 5)], [raw.tensor("t")], data=b"\0" * 128)[:cut])
        return path

    return write


def check(header: Header, count: int = len(TEXTS)) -> None:
    assert header.metadata == {"texts": Array(ValueType.STRING, count, None), "after": 5}
    assert [tensor.name for tensor in header.tensors] == ["t"]


def walks(monkeypatch) -> list[int]:
    """The arrays that are walked through string by string, by their length."""
    lengths: list[int] = []
    walk = cursor.HeaderCursor._walk_strings

    def counting(self: cursor.HeaderCursor, count: int) -> None:
        lengths.append(count)
        walk(self, count)

    monkeypatch.setattr(cursor.HeaderCursor, "_walk_strings", counting)
    return lengths


def test_the_same_vocabulary_is_walked_through_once(vocabulary_file, monkeypatch) -> None:
    lengths, known = walks(monkeypatch), KnownStrings()
    for name in ("a", "b", "c"):
        check(read_header(vocabulary_file(name, TEXTS), known=known))
    assert lengths == [3000]


def test_another_vocabulary_that_begins_alike(vocabulary_file, monkeypatch) -> None:
    lengths, known = walks(monkeypatch), KnownStrings()
    other = [*TEXTS[:-1], b"something else"]
    check(read_header(vocabulary_file("a", TEXTS), known=known))
    check(read_header(vocabulary_file("b", other), known=known))
    check(read_header(vocabulary_file("c", other[:-1]), known=known), 2999)
    check(read_header(vocabulary_file("d", other), known=known))
    assert lengths == [3000, 3000, 2999]


def test_a_known_vocabulary_that_is_cut_off(vocabulary_file) -> None:
    known = KnownStrings()
    check(read_header(vocabulary_file("a", TEXTS), known=known))
    with pytest.raises(ModelFileError):
        read_header(vocabulary_file("b", TEXTS, cut=30_000), known=known)


def test_a_lie_is_found_beside_a_known_vocabulary(vocabulary_file) -> None:
    known = KnownStrings()
    check(read_header(vocabulary_file("a", TEXTS), known=known))
    path = vocabulary_file("b", TEXTS)
    content = bytearray(path.read_bytes())
    place = content.index(b"token 2500") - 8
    struct.pack_into("<Q", content, place, 2**60)
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        read_header(path, known=known)


def test_the_budget_is_kept() -> None:
    known = KnownStrings(budget=100)
    known.remember(1, b"a", b"x" * 60)
    known.remember(2, b"b", b"x" * 40)
    assert known.find(1, b"a") == b"x" * 60
    known.remember(3, b"c", b"x" * 40)
    assert known.find(2, b"b") is None
    assert known.find(1, b"a") is not None
    known.remember(1, b"a", b"y" * 50)
    assert known.find(1, b"a") == b"y" * 50
    assert known.find(3, b"c") is not None
    known.remember(4, b"d", b"x" * 101)
    assert known.find(4, b"d") is None
