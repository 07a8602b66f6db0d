from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.library.stores import HuggingFaceCache, finder, sha256
from workbench.library.huggingface import cache_folder, find_hugging_face

REPO = "bartowski/Llama-3.2-3B-Instruct-GGUF"
FILE = "Llama-3.2-3B-Instruct-Q4_K_M.gguf"


found_in = finder(find_hugging_face)


def test_a_model(hub: HuggingFaceCache, places, weights) -> None:
    data = weights()
    link = hub.add(REPO, FILE, data)
    ([model], problems) = found_in(places())
    assert problems == []
    assert (model.file.paths, model.file.size_bytes) == ((link,), len(data))
    assert model.digest == sha256(data)
    assert (model.place.source, model.place.name, model.place.ref) == ("huggingface", REPO, str(link))
    assert model.problem == ""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/xdg", "HF_HOME": "~/hf"}, "~/hf/hub"),
        ({"HF_HOME": "/hf", "HF_HUB_CACHE": "/hub"}, "/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/hf"}, "/old"),
        ({"HF_HUB_CACHE": "  "}, "~/.cache/huggingface/hub"),
    ],
)
def test_where_the_cache_is(places, home: Path, environ: dict[str, str], expected: str) -> None:
    assert cache_folder(places(**environ)) == Path(expected.replace("~", str(home)))


def test_no_cache_is_no_problem(places) -> None:
    assert found_in(places()) == ([], [])


def test_the_same_file_of_two_snapshots_is_found_once(hub: HuggingFaceCache, places, weights) -> None:
    data = weights()
    hub.add(REPO, FILE, data, commit="a" * 40, branch="")
    newer = hub.add(REPO, FILE, data, commit="b" * 40)
    ([model], _) = found_in(places())
    assert model.file.path == newer


def test_a_file_that_changed_between_snapshots_is_two(hub: HuggingFaceCache, places, weights) -> None:
    hub.add(REPO, FILE, weights(fill=1), commit="a" * 40, branch="")
    hub.add(REPO, FILE, weights(fill=2), commit="b" * 40)
    (models, _) = found_in(places())
    assert len({model.digest for model in models}) == 2


def test_folders_in_a_snapshot_and_split_files(hub: HuggingFaceCache, places, weights) -> None:
    for number in (1, 2):
        hub.add(REPO, f"Q8_0/big-Q8_0-0000{number}-of-00002.gguf", weights(fill=number))
    hub.add(REPO, "mmproj-model-f16.gguf", weights())
    hub.add(REPO, "README.md", b"text")
    ([model], problems) = found_in(places())
    assert (len(model.file.paths), model.file.missing, model.digest, problems) == (2, (), None, [])


def test_a_missing_part_is_named(hub: HuggingFaceCache, places, weights) -> None:
    hub.add(REPO, "big-Q8_0-00001-of-00002.gguf", weights())
    ([model], _) = found_in(places())
    assert model.file.missing == ("big-Q8_0-00002-of-00002.gguf",)


def test_a_blob_that_is_gone(hub: HuggingFaceCache, places, weights) -> None:
    link = hub.add(REPO, FILE, weights())
    link.resolve().unlink()
    ([model], problems) = found_in(places())
    assert model.problem.startswith("incomplete: its blob is missing")
    assert (model.place.path, problems) == (str(link), [])


@pytest.mark.parametrize("name", ["e" * 64 + ".incomplete", "e" * 64 + ".0123abcd.incomplete"])
def test_a_download_that_was_not_finished(hub: HuggingFaceCache, places, weights, name: str) -> None:
    blobs = hub.repository(REPO) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / name).write_bytes(weights()[:50])
    (blobs / ("f" * 64 + ".incomplete")).write_bytes(b"text that is no model")
    os.mkfifo(blobs / ("d" * 64 + ".incomplete"))
    ([model], problems) = found_in(places())
    assert model.problem.startswith("incomplete: the download was not finished")
    assert (model.name, model.file.path.name, problems) == ("Llama-3.2-3B-Instruct-GGUF", name, [])


def test_real_files_where_the_system_has_no_links(hub: HuggingFaceCache, places, weights) -> None:
    path = hub.repository(REPO) / "snapshots" / ("c" * 40) / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(weights())
    ([model], _) = found_in(places())
    assert (model.file.path, model.digest) == (path, None)


def test_everything_else_in_the_cache_is_passed_over(hub: HuggingFaceCache, places, weights) -> None:
    hub.add(REPO, FILE, weights())
    for other in (
        "datasets--a--b/snapshots/x/data.gguf",
        ".locks/models--a--b/x.gguf",
        "version.txt",
        "models--a--b/.no_exist/x.gguf",
    ):
        path = hub.root / other
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (models, problems) = found_in(places())
    assert (len(models), problems) == (1, [])


def test_refs_that_are_damaged_do_no_harm(hub: HuggingFaceCache, places, weights) -> None:
    hub.add(REPO, FILE, weights())
    refs = hub.repository(REPO) / "refs"
    (refs / "main").write_bytes(b"\xff\xfe")
    (refs / "long").write_bytes(b"c" * 1000)
    (refs / "folder").mkdir()
    os.mkfifo(refs / "pipe")
    assert len(found_in(places())[0]) == 1


def test_a_cache_that_may_not_be_read_is_a_problem(hub: HuggingFaceCache, places, weights, forbid) -> None:
    hub.add(REPO, FILE, weights())
    forbid("snapshots")
    (models, [problem]) = found_in(places())
    assert (models, problem.path.name) == ([], "snapshots")
