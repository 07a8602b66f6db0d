from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from workbench.core.models import ScanProblem
from workbench.library.folders import ModelFile, find_in_folders, is_model_name, model_file


@dataclass
class Result:
    """What was found below some folders."""

    files: list[ModelFile]
    problems: list[ScanProblem]


def scan(folders: list[Path]) -> Result:
    result = Result([], [])
    for item in find_in_folders(folders):
        if isinstance(item, ScanProblem):
            result.problems.append(item)
        else:
            result.files.append(item.file)
    return result


def names(folder: Path) -> list[str]:
    return sorted(str(file.path.relative_to(folder)) for file in scan([folder]).files)


def touch(path: Path, size: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def test_everything_below_a_folder_is_found(tmp_path: Path) -> None:
    for name in ("a.gguf", "deep/er/b.GGUF", "mit Leer/ü.gguf", "c.bin", "mmproj-a.gguf", "gguf", ".hidden/d.gguf"):
        touch(tmp_path / name)
    assert names(tmp_path) == [".hidden/d.gguf", "a.gguf", "deep/er/b.GGUF", "mit Leer/ü.gguf"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.GGUF", True),
        ("mmproj-x.gguf", False),
        ("MTP-x.gguf", False),
        ("x-mmproj.gguf", False),
        ("x.bin", False),
        ("._x.gguf", False),
        (".x.gguf", False),
        ("x._.gguf", True),
    ],
)
def test_accessories_of_models_and_hidden_files_are_left_out(name: str, expected: bool) -> None:
    assert is_model_name(name) is expected


def test_a_folder_may_be_called_like_a_model(tmp_path: Path) -> None:
    touch(tmp_path / "Llama.gguf" / "model.gguf")
    assert names(tmp_path) == ["Llama.gguf/model.gguf"]


def test_a_file_that_was_cut_into_pieces_is_one_model(tmp_path: Path) -> None:
    for name in ("a.gguf.part2of3", "a.gguf.part1of3", "b.gguf-split-b", "b.gguf-split-a", "c.gguf", "c.gguf.001"):
        touch(tmp_path / name, 10)
    files = {file.path.name: file for file in scan([tmp_path]).files}
    assert list(files) == ["a.gguf.part1of3", "b.gguf-split-a", "c.gguf"]
    first = files["a.gguf.part1of3"]
    assert ([path.name for path in first.paths], first.size_bytes) == (["a.gguf.part1of3", "a.gguf.part2of3"], 20)
    assert first.missing == ("piece 3 of 3",)
    assert (len(files["b.gguf-split-a"].paths), files["b.gguf-split-a"].missing) == (2, ())
    assert model_file(tmp_path / "b.gguf-split-b") == files["b.gguf-split-a"]
    assert model_file(tmp_path / "missing.gguf.part1of2").size_bytes == 0


def test_links_are_followed_once(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    touch(outside / "sub" / "a.gguf")
    inside.mkdir()
    (inside / "one").symlink_to(outside)
    (inside / "two").symlink_to(outside)
    assert len(scan([inside]).files) == 1


def test_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "m.gguf")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    result = scan([tmp_path])
    assert [file.path.name for file in result.files] == ["m.gguf"]
    assert len(result.problems) == 1


def test_the_same_folder_twice(tmp_path: Path) -> None:
    touch(tmp_path / "a.gguf")
    assert len(scan([tmp_path, tmp_path, tmp_path / "."]).files) == 1


def test_unreadable_folders_are_reported(tmp_path: Path, forbid) -> None:
    touch(tmp_path / "open" / "a.gguf")
    (tmp_path / "closed").mkdir()
    forbid("closed")
    result = scan([tmp_path, tmp_path / "missing"])
    assert [file.path.name for file in result.files] == ["a.gguf"]
    assert sorted(map(str, result.problems)) == [
        f"{tmp_path / 'closed'}: reading it is not permitted",
        f"{tmp_path / 'missing'}: there is no such folder or file",
    ]


def test_a_broken_link_is_reported_if_it_names_a_model(tmp_path: Path) -> None:
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "nowhere.gguf")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    result = scan([tmp_path])
    assert not result.files
    assert [problem.path.name for problem in result.problems] == ["gone.gguf"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    result = scan([touch(tmp_path / "a.txt")])
    assert not result.files
    assert len(result.problems) == 1


def test_a_pipe_is_listed_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert names(tmp_path) == ["pipe.gguf"]


def test_the_parts_of_a_split_file_are_one_model(tmp_path: Path) -> None:
    parts = [touch(tmp_path / f"m-Q4_0-0000{number}-of-00003.gguf", number) for number in (1, 2, 3)]
    (file,) = scan([tmp_path]).files
    assert file.paths == tuple(parts)
    assert (file.size_bytes, file.missing) == (6, ())


def test_missing_parts_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "m-00002-of-00003.gguf", 5)
    (file,) = scan([tmp_path]).files
    assert file.path.name == "m-00002-of-00003.gguf"
    assert file.missing == ("m-00001-of-00003.gguf", "m-00003-of-00003.gguf")
    assert file.size_bytes == 5


def test_split_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for number in (1, 2):
            touch(tmp_path / folder / f"m-0000{number}-of-00002.gguf")
    assert [len(file.paths) for file in scan([tmp_path]).files] == [2, 2]


@pytest.mark.parametrize("opened", [1, 2])
def test_any_part_leads_to_the_first(tmp_path: Path, opened: int) -> None:
    parts = [touch(tmp_path / f"m-0000{number}-of-00002.gguf") for number in (1, 2)]
    assert model_file(parts[opened - 1]).path == parts[0]


def test_a_file_that_vanished_has_no_size(tmp_path: Path) -> None:
    file = model_file(tmp_path / "gone.gguf")
    assert (file.size_bytes, file.paths) == (0, (tmp_path / "gone.gguf",))
