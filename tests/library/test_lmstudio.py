from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from workbench.core.models import ScanProblem
from workbench.library.folders import Found
from workbench.library.lmstudio import find_lm_studio, models_folders


def found_in(places) -> tuple[list[Found], list[ScanProblem]]:
    found = list(find_lm_studio(places))
    return [item for item in found if isinstance(item, Found)], [
        item for item in found if isinstance(item, ScanProblem)
    ]


def test_models_lie_two_levels_down(home: Path, places, model) -> None:
    models = home / ".lmstudio" / "models"
    path = model(models / "user" / "Llama-GGUF" / "Llama-Q4_0.gguf")
    for other in (
        "a.gguf",
        "user/b.gguf",
        "user/Llama-GGUF/deep/c.gguf",
        "user/Llama-GGUF/mmproj-d.gguf",
        "user/x/.hidden.gguf",
    ):
        model(models / other)
    model(home / ".lmstudio" / "hub" / "models" / "user" / "m" / "e.gguf")
    ([found], problems) = found_in(places())
    assert problems == []
    assert (found.file.path, found.place.source, found.place.name) == (path, "lmstudio", "user/Llama-GGUF")
    assert found.place.ref == str(path)


def test_a_split_file_is_one_model(home: Path, places, model) -> None:
    for number in (1, 3):
        model(home / ".lmstudio/models/u/m" / f"m-0000{number}-of-00003.gguf")
    ([found], _) = found_in(places())
    assert found.file.missing == ("m-00002-of-00003.gguf",)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ["~/.lmstudio/models"]),
        ({".cache/lm-studio/x": ""}, ["~/.cache/lm-studio/models"]),
        ({".lmstudio-home-pointer": "/data/lms\n", ".cache/lm-studio/x": ""}, ["/data/lms/models"]),
        ({".lmstudio-home-pointer": "~/lms"}, ["~/lms/models"]),
        ({".lmstudio-home-pointer": "  "}, ["~/.lmstudio/models"]),
        (
            {".lmstudio/settings.json": json.dumps({"downloadsFolder": "/big/disk"})},
            ["/big/disk", "~/.lmstudio/models"],
        ),
        ({".lmstudio/settings.json": json.dumps({"downloadsFolder": ""})}, ["~/.lmstudio/models"]),
        ({".lmstudio/settings.json": json.dumps({"downloadsFolder": 3})}, ["~/.lmstudio/models"]),
        ({".lmstudio/settings.json": "{"}, ["~/.lmstudio/models"]),
        ({".lmstudio/settings.json": "[" * 100_000}, ["~/.lmstudio/models"]),
        ({".lmstudio/settings.json": "[]"}, ["~/.lmstudio/models"]),
    ],
)
def test_where_the_models_are(home: Path, places, files: dict[str, str], expected: list[str]) -> None:
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert models_folders(places()) == [Path(folder.replace("~", str(home))) for folder in expected]


def test_a_pointer_that_is_a_pipe_is_not_waited_for(home: Path, places) -> None:
    os.mkfifo(home / ".lmstudio-home-pointer")
    assert models_folders(places()) == [home / ".lmstudio" / "models"]


def test_a_broken_link_is_a_problem(home: Path, places) -> None:
    folder = home / ".lmstudio/models/u/m"
    folder.mkdir(parents=True)
    (folder / "gone.gguf").symlink_to("nowhere.gguf")
    (models, [problem]) = found_in(places())
    assert (models, problem.path.name) == ([], "gone.gguf")
