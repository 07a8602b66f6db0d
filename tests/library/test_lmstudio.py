from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.library.stores import finder
from workbench.library.lmstudio import find_lm_studio, models_folders

OLDER = "~/.cache/lm-studio/models"


found_in = finder(find_lm_studio)


def test_models_lie_at_any_depth(home: Path, places, model) -> None:
    models = home / ".lmstudio" / "models"
    paths = [
        model(models / name)
        for name in ("a.gguf", "user/Llama-GGUF/Llama-Q4_0.gguf", "user/Llama-GGUF/deep/c.gguf", "user/b.gguf")
    ]
    for other in ("user/Llama-GGUF/mmproj-d.gguf", "user/x/.hidden.gguf"):
        model(models / other)
    model(home / ".lmstudio" / "hub" / "models" / "user" / "m" / "e.gguf")
    (found, problems) = found_in(places())
    assert problems == []
    assert sorted(item.file.path for item in found) == sorted(paths)
    names = {item.file.path.name: (item.place.name, item.place.source, item.place.ref) for item in found}
    assert names["Llama-Q4_0.gguf"] == ("user/Llama-GGUF", "lmstudio", str(paths[1]))
    assert [names[name][0] for name in ("a.gguf", "b.gguf", "c.gguf")] == ["", "", ""]


def test_a_moved_home_and_an_older_one_are_searched_as_well(home: Path, tmp_path: Path, places, model) -> None:
    (home / ".cache/lm-studio/models").mkdir(parents=True)
    current, moved = model(home / ".lmstudio/models/me/m/one.gguf"), model(tmp_path / "moved/models/me/m/two.gguf")
    older = model(home / ".cache/lm-studio/models/me/m/three.gguf")
    (home / ".lmstudio-home-pointer").write_text(str(tmp_path / "moved"))
    (found, problems) = found_in(places())
    assert ({item.file.path for item in found}, problems) == ({current, moved, older}, [])


def test_a_folder_of_the_settings_that_is_missing_is_a_problem(home: Path, tmp_path: Path, places, model) -> None:
    path = model(home / ".lmstudio/models/me/m/one.gguf")
    (home / ".lmstudio/settings.json").write_text(json.dumps({"downloadsFolder": str(tmp_path / "gone")}))
    ([found], [problem]) = found_in(places())
    assert (found.file.path, problem.path) == (path, tmp_path / "gone")
    assert "settings name this folder, which does not exist" in problem.message


def test_a_home_that_is_missing_is_a_problem(home: Path, tmp_path: Path, places) -> None:
    (home / ".lmstudio-home-pointer").write_text(str(tmp_path / "gone"))
    ([], [problem]) = found_in(places())
    assert problem.path == tmp_path / "gone" / "models"
    assert "was moved to this folder" in problem.message
    (tmp_path / "gone").mkdir()
    assert found_in(places()) == ([], [])


def test_a_folder_that_is_no_path_ends_nothing(home: Path, places, model) -> None:
    path = model(home / ".lmstudio/models/me/m/one.gguf")
    (home / ".lmstudio/settings.json").write_text(json.dumps({"downloadsFolder": "a\0b"}))
    ([found], [problem]) = found_in(places())
    assert (found.file.path, "null" in problem.message) == (path, True)


def test_a_split_file_is_one_model(home: Path, places, model) -> None:
    for number in (1, 3):
        model(home / ".lmstudio/models/u/m" / f"m-0000{number}-of-00003.gguf")
    ([found], _) = found_in(places())
    assert found.file.missing == ("m-00002-of-00003.gguf",)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ["~/.lmstudio/models", OLDER]),
        ({".cache/lm-studio/x": ""}, ["~/.lmstudio/models", OLDER]),
        (
            {".lmstudio-home-pointer": "/data/lms\n", ".cache/lm-studio/x": ""},
            ["/data/lms/models", "~/.lmstudio/models", OLDER],
        ),
        ({".lmstudio-home-pointer": "~/lms"}, ["~/lms/models", "~/.lmstudio/models", OLDER]),
        ({".lmstudio-home-pointer": "  "}, ["~/.lmstudio/models", OLDER]),
        (
            {".lmstudio/settings.json": json.dumps({"downloadsFolder": "/big/disk"})},
            ["/big/disk", "~/.lmstudio/models", OLDER],
        ),
        ({".lmstudio/settings.json": json.dumps({"downloadsFolder": ""})}, ["~/.lmstudio/models", OLDER]),
        ({".lmstudio/settings.json": json.dumps({"downloadsFolder": 3})}, ["~/.lmstudio/models", OLDER]),
        ({".lmstudio/settings.json": "{"}, ["~/.lmstudio/models", OLDER]),
        ({".lmstudio/settings.json": "[" * 100_000}, ["~/.lmstudio/models", OLDER]),
        ({".lmstudio/settings.json": "[]"}, ["~/.lmstudio/models", OLDER]),
    ],
)
def test_where_the_models_are(home: Path, places, files: dict[str, str], expected: list[str]) -> None:
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert list(models_folders(places())) == [Path(folder.replace("~", str(home))) for folder in expected]


def test_a_pointer_that_is_a_pipe_is_not_waited_for(home: Path, places) -> None:
    os.mkfifo(home / ".lmstudio-home-pointer")
    assert next(iter(models_folders(places()))) == home / ".lmstudio" / "models"


def test_a_broken_link_is_a_problem(home: Path, places) -> None:
    folder = home / ".lmstudio/models/u/m"
    folder.mkdir(parents=True)
    (folder / "gone.gguf").symlink_to("nowhere.gguf")
    (models, [problem]) = found_in(places())
    assert (models, problem.path.name) == ([], "gone.gguf")
