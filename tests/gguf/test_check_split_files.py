"""The parts of a split model."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np

from tests.gguf.reading import refusal_to_load
from tests.gguf_files import finish
from workbench.gguf.check import check_loadable


def write_split(folder: Path, *, count: int = 3, total: int | None = None, number_type: str = "u16") -> list[Path]:
    paths = []
    for number in range(count):
        path = folder / f"Split-F32-{number + 1:05}-of-{count:05}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_block_count(1)
        if number_type == "u16":
            writer.add_uint16("split.no", number)
        else:
            writer.add_uint32("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", count if total is None else total)
        writer.add_tensor(f"blk.0.{number}.weight", np.zeros((4, 4), np.float32))
        finish(writer)
        paths.append(path)
    return paths


def test_all_parts_of_a_split_file_are_read(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    assert [header.path for header in check_loadable(paths[0])] == list(map(str, paths))


def test_a_part_is_missing(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    paths[1].unlink()
    error = refusal_to_load(paths[0])
    assert "1 of its 3 parts are missing: Split-F32-00002-of-00003.gguf" in error.message


def test_another_part_than_the_first(tmp_path: Path) -> None:
    error = refusal_to_load(write_split(tmp_path)[1])
    assert "part 2 of 3" in error.message
    assert "Split-F32-00001-of-00003.gguf" in error.hint


def test_a_part_that_lost_its_name(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    assert "name does not say so" in refusal_to_load(paths[0].rename(tmp_path / "model.gguf")).message


def test_parts_in_the_wrong_order(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    shutil.copy(paths[2], paths[1])
    assert "it does not say that it is part 2 of 3" in refusal_to_load(paths[0]).message


def test_a_part_number_of_the_wrong_type(tmp_path: Path) -> None:
    assert "part 2 of 3" in refusal_to_load(write_split(tmp_path, number_type="u32")[0]).message


def test_a_wrong_total_of_tensors(tmp_path: Path) -> None:
    assert "hold 3 tensors instead of 4" in refusal_to_load(write_split(tmp_path, total=4)[0]).message


def test_a_truncated_part(tmp_path: Path) -> None:
    paths = write_split(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-40])
    error = refusal_to_load(paths[0])
    assert str(paths[2]) in error.message
    assert "missing at its end" in error.message
