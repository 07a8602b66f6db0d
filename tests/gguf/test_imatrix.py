from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.gguf_files import finish
from workbench.core.errors import ImatrixError
from workbench.gguf.imatrix import check_imatrix, read_imatrix
from workbench.gguf.reader import read_header


def write(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["first.txt", "second.txt"])
    writer.add_uint32("imatrix.chunk_count", 7)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    finish(writer)
    return path


def entry(name: str, columns: int, experts: int = 1) -> dict[str, np.ndarray]:
    sums = np.arange(experts * columns, dtype=np.float32).reshape(experts, columns)
    return {f"{name}.in_sum2": sums, f"{name}.counts": np.full((experts, 1), 4, np.float32)}


def old(*entries: tuple[bytes, int, list[float]], tail: bytes = b"", count: int | None = None) -> bytes:
    data = struct.pack("<i", len(entries) if count is None else count)
    for name, calls, values in entries:
        data += struct.pack("<i", len(name)) + name + struct.pack("<ii", calls, len(values))
        data += struct.pack(f"<{len(values)}f", *values)
    return data + tail


def test_the_new_form(tmp_path):
    matrix = read_imatrix(write(tmp_path / "m.gguf", entry("blk.0.ffn_up.weight", 4, experts=2)))
    found = matrix.entries["blk.0.ffn_up.weight"]
    assert (list(found.sums), found.counts) == ([0, 1, 2, 3, 4, 5, 6, 7], (4, 4))
    assert (matrix.datasets, matrix.chunks) == (("first.txt", "second.txt"), 7)


def test_the_old_form(tmp_path):
    path = tmp_path / "m.dat"
    path.write_bytes(old((b"a", 2, [1.0, 3.0]), (b"b", 0, [5.0]), tail=struct.pack("<ii", 9, 3) + b"txt"))
    matrix = read_imatrix(path)
    assert (list(matrix.entries["a"].sums), matrix.entries["a"].counts) == ([1, 3], (2,))
    assert matrix.entries["b"].counts == (1,)
    assert (matrix.datasets, matrix.chunks) == (("txt",), 9)


def test_the_old_form_may_end_with_its_tensors(tmp_path):
    path = tmp_path / "m.dat"
    path.write_bytes(old((b"a", 2, [1.0])))
    assert (read_imatrix(path).datasets, read_imatrix(path).chunks) == ((), 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        old(),
        old((b"a", 1, [1.0]))[:-2],
        old((b"a", 1, [])),
        old((b"", 1, [1.0])),
        old((b"a", 1, [1.0]), count=2),
        old((b"a", 1, [1.0]), count=-1),
        struct.pack("<iii", 1, 2**30, 0),
        struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, 2**30),
        old((b"a", 1, [float("nan")])),
        old((b"a", 1, [float("inf")])),
    ],
    ids=range(12),
)
def test_what_is_none_is_refused(tmp_path, data):
    path = tmp_path / "m.dat"
    path.write_bytes(data)
    with pytest.raises(ImatrixError):
        read_imatrix(path)


@pytest.mark.parametrize(
    "change",
    [
        {"x.counts": None},
        {"x.counts": np.ones((3, 1), np.float32)},
        {"x.counts": np.ones((1, 1), np.float16)},
        {"x.in_sum2": np.ones((1, 4), np.float16)},
        {"x.in_sum2": np.full((1, 4), np.nan, np.float32)},
        {"x.counts": np.full((1, 1), np.nan, np.float32)},
        {"x.counts": np.full((1, 1), np.inf, np.float32)},
        {"x.in_sum2": None, "x.counts": None, "other": np.ones(4, np.float32)},
    ],
    ids=range(8),
)
def test_a_file_whose_parts_do_not_go_together_is_refused(tmp_path, change):
    tensors = {**entry("x", 4), **change}
    path = write(tmp_path / "m.gguf", {name: values for name, values in tensors.items() if values is not None})
    with pytest.raises(ImatrixError):
        read_imatrix(path)


def test_a_model_is_none(tiny_model):
    with pytest.raises(ImatrixError, match="this is a model"):
        read_imatrix(tiny_model)


def test_a_folder_is_none(tmp_path):
    with pytest.raises(ImatrixError):
        read_imatrix(tmp_path)


def test_it_has_to_be_for_the_model(tmp_path, tiny_model):
    headers = [read_header(tiny_model)]
    fitting = entry("blk.0.ffn_up.weight", 64) | entry("token_embd.weight", 3)
    check_imatrix(read_imatrix(write(tmp_path / "fits.gguf", fitting)), headers)
    with pytest.raises(ImatrixError, match="65 values"):
        check_imatrix(read_imatrix(write(tmp_path / "wide.gguf", entry("blk.0.ffn_up.weight", 65))), headers)
    with pytest.raises(ImatrixError, match="another model"):
        check_imatrix(read_imatrix(write(tmp_path / "other.gguf", entry("blk.99.ffn_up.weight", 64))), headers)
