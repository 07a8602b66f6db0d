from __future__ import annotations

from pathlib import Path

import pytest

from tests.library.stores import HuggingFaceCache
from workbench.core.models import ScanProblem
from workbench.library.folders import Found
from workbench.library.llamacpp import find_llama_cpp


def found_in(places) -> tuple[list[Found], list[ScanProblem]]:
    found = list(find_llama_cpp(places))
    return [item for item in found if isinstance(item, Found)], [
        item for item in found if isinstance(item, ScanProblem)
    ]


@pytest.fixture
def older(home: Path) -> Path:
    folder = home / ".cache" / "llama.cpp"
    folder.mkdir(parents=True)
    return folder


def test_the_flat_cache(older: Path, places, model) -> None:
    path = model(older / "ggml-org_Qwen3-0.6B-GGUF_Qwen3-0.6B-Q8_0.gguf")
    (older / f"{path.name}.etag").write_text("x")
    (older / f"{path.name}.json").write_text("{}")
    (older / "manifest=ggml-org=Qwen3-0.6B-GGUF=Q8_0.json").write_text("{}")
    ([found], problems) = found_in(places())
    assert problems == []
    assert (found.name, found.quant) == ("Qwen3-0.6B", "Q8_0")
    assert (found.place.source, found.place.name, found.place.path) == (
        "llama.cpp",
        "ggml-org/Qwen3-0.6B-GGUF",
        str(path),
    )


@pytest.mark.parametrize(
    ("name", "manifest", "repository", "model_name"),
    [
        ("user_Repo-GGUF_Model-Q4_0.gguf", "", "user/Repo-GGUF", "Model"),
        ("user_odd_repo_Model-Q4_0.gguf", "manifest=user=odd_repo=latest.json", "user/odd_repo", "Model"),
        ("user_odd_repo_Model-Q4_0.gguf", "", "", "user_odd_repo_Model"),
        ("Model-Q4_0.gguf", "", "", "Model"),
        ("user_Repo-GGUF_.gguf", "", "", "user_Repo-GGUF_"),
    ],
)
def test_the_repository_in_a_name(older: Path, places, model, name, manifest, repository, model_name) -> None:
    model(older / name)
    if manifest:
        (older / manifest).write_text("{}")
    ([found], _) = found_in(places())
    assert found.place.name == repository
    assert found.name.strip("_") == model_name.strip("_")


def test_split_files_and_unfinished_downloads(older: Path, places, model) -> None:
    for number in (1, 2):
        model(older / f"u_R-GGUF_m-Q4_0-0000{number}-of-00002.gguf")
    (older / "u_R-GGUF_n-Q8_0.gguf.downloadInProgress").write_bytes(b"GGUF")
    (older / "folder.gguf").mkdir()
    (split, unfinished), problems = found_in(places())
    assert problems == []
    assert (split.name, len(split.file.paths), split.file.missing) == ("m", 2, ())
    assert (unfinished.name, unfinished.quant, unfinished.place.name) == ("n", "Q8_0", "u/R-GGUF")
    assert unfinished.problem.startswith("incomplete")


def test_a_named_cache_has_either_layout_and_the_usual_one_counts_too(
    tmp_path: Path, older: Path, places, model, weights
) -> None:
    named = tmp_path / "named"
    model(named / "u_R-GGUF_flat-Q4_0.gguf")
    HuggingFaceCache(named).add("u/R-GGUF", "hub-Q4_0.gguf", weights())
    model(older / "u_R-GGUF_older-Q4_0.gguf")
    (models, problems) = found_in(places(LLAMA_CACHE=named))
    assert problems == []
    assert sorted(found.file.path.name for found in models) == [
        "hub-Q4_0.gguf",
        "u_R-GGUF_flat-Q4_0.gguf",
        "u_R-GGUF_older-Q4_0.gguf",
    ]
    assert {found.place.source for found in models} == {"llama.cpp"}


def test_a_named_cache_that_is_not_there_is_a_problem(tmp_path: Path, places) -> None:
    assert found_in(places()) == ([], [])
    (_, problems) = found_in(places(LLAMA_CACHE=tmp_path / "no"))
    assert [problem.path.name for problem in problems] == ["no"]


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", ".cache/llama.cpp"),
        ("darwin", "Library/Caches/llama.cpp"),
        ("win32", "AppData/Local/llama.cpp"),
    ],
)
def test_where_the_older_cache_is(home: Path, places, model, platform: str, folder: str) -> None:
    model(home / folder / "m-Q4_0.gguf")
    assert len(found_in(places(platform))[0]) == 1


def test_windows_may_name_the_folder(tmp_path: Path, places, model) -> None:
    model(tmp_path / "local" / "llama.cpp" / "m-Q4_0.gguf")
    assert len(found_in(places("win32", LOCALAPPDATA=tmp_path / "local"))[0]) == 1
