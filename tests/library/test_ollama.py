from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.stores import OllamaStore, finder, sha256
from workbench.core.models import ScanProblem
from workbench.library.folders import Found
from workbench.library.ollama import (
    Manifest,
    OllamaName,
    find_ollama,
    manifests,
    parse_ollama_name,
    read_manifest,
)

HOST, SPACE = "registry.ollama.ai", "library"


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        ("llama3.2", (HOST, SPACE, "llama3.2", "latest"), "llama3.2:latest"),
        ("llama3.2:3b", (HOST, SPACE, "llama3.2", "3b"), "llama3.2:3b"),
        ("me/mine:q4_K_M", (HOST, "me", "mine", "q4_K_M"), "me/mine:q4_K_M"),
        ("example.com/me/mine", ("example.com", "me", "mine", "latest"), "example.com/me/mine:latest"),
        ("localhost:5000/me/mine:x", ("localhost:5000", "me", "mine", "x"), "localhost:5000/me/mine:x"),
        ("http://localhost:5000/me/mine", ("localhost:5000", "me", "mine", "latest"), "localhost:5000/me/mine:latest"),
        ("hf.co/bart/L-3B-GGUF:Q4_K_M", ("hf.co", "bart", "L-3B-GGUF", "Q4_K_M"), "hf.co/bart/L-3B-GGUF:Q4_K_M"),
        (f"{HOST}/{SPACE}/a:b", (HOST, SPACE, "a", "b"), "a:b"),
        ("_a", (HOST, SPACE, "_a", "latest"), "_a:latest"),
    ],
)
def test_names(text: str, name: tuple[str, ...], shown: str) -> None:
    found = parse_ollama_name(text)
    assert found == OllamaName(*name)
    assert str(found) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        ":b",
        "/a",
        "a/",
        "a//b",
        "-a",
        ".a",
        "a b",
        "a\n",
        "x" * 81,
        "a:" + "x" * 81,
        "n.s/m",
        "../../x",
        "a/b/c/d/e",
    ],
)
def test_names_that_are_none(text: str) -> None:
    assert parse_ollama_name(text) is None


@given(st.text(max_size=120))
def test_any_text_is_a_name_or_none_and_its_shown_form_is_the_same_name(text: str) -> None:
    name = parse_ollama_name(text)
    if name is not None:
        assert parse_ollama_name(str(name)) == name


found_in = finder(find_ollama)


def test_a_model(ollama: OllamaStore, places, weights) -> None:
    data = weights()
    ollama.add("llama3.2/3b", data, config={"file_type": "Q4_K_M", "model_type": "3.2B"})
    ([model], problems) = found_in(places())
    blob = ollama.root / "blobs" / f"sha256-{sha256(data)}"
    assert problems == []
    assert (model.name, model.quant, model.parameters) == ("llama3.2:3b", "Q4_K_M", 3_200_000_000)
    assert (model.digest, model.file.paths, model.file.size_bytes) == (sha256(data), (blob,), len(data))
    assert (model.place.source, model.place.ref, model.place.path) == ("ollama", "ollama:llama3.2:3b", str(blob))
    assert model.problem == ""


def test_the_tag_names_the_quantization_before_the_configuration(ollama: OllamaStore, places, weights) -> None:
    ollama.add("a/3b-instruct-q8_0", weights(), config={"file_type": "unknown"})
    ([model], _) = found_in(places())
    assert model.quant == "Q8_0"


def test_all_hosts_and_namespaces(ollama: OllamaStore, places, weights) -> None:
    for name in ("a/latest", "me/b/x", "hf.co/user/repo-GGUF/Q4_K_M"):
        ollama.add(name, weights())
    (models, _) = found_in(places())
    assert sorted(model.name for model in models) == ["a:latest", "hf.co/user/repo-GGUF:Q4_K_M", "me/b:x"]


def test_only_manifests_four_levels_down_count(ollama: OllamaStore, places, weights) -> None:
    good = ollama.add("a/latest", weights())
    for wrong in (
        "too/few",
        "one/two/many/levels/down",
        f"{HOST}/{SPACE}/.hidden/latest",
        f"{HOST}/{SPACE}/a/.DS_Store",
        f"{HOST}/bad.space/a/latest",
    ):
        path = ollama.manifest_path(wrong)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good.read_bytes())
    (ollama.root / "manifests-v2" / "ollama.com" / "library" / "a").mkdir(parents=True)
    (models, problems) = found_in(places())
    assert ([model.name for model in models], problems) == (["a:latest"], [])


def test_blobs_of_very_old_stores(ollama: OllamaStore, places, weights) -> None:
    data = weights()
    ollama.add("old/latest", data)
    (ollama.root / "blobs" / f"sha256-{sha256(data)}").unlink()
    old = ollama.blob(data, separator=":")
    ([model], _) = found_in(places())
    assert (model.file.path, model.problem) == (old, "")


def test_a_blob_that_is_missing(ollama: OllamaStore, places, weights) -> None:
    data = weights()
    ollama.add("a/latest", data)
    blob = ollama.root / "blobs" / f"sha256-{sha256(data)}"
    blob.unlink()
    ([model], _) = found_in(places())
    assert model.problem.startswith("incomplete: its weights are missing")
    assert "ollama pull a:latest" in model.problem
    blob.with_name(f"{blob.name}-partial").write_bytes(b"")
    ([model], _) = found_in(places())
    assert model.problem.startswith("incomplete: the download was not finished")


def test_cloud_stubs_safetensors_models_and_adapters_are_reported(ollama: OllamaStore, places, weights) -> None:
    ollama.add("big/cloud", config={"remote_host": "https://ollama.com:443", "remote_model": "big"})
    ollama.add("mlx/latest", layers=[ollama.layer("tensor", b"t"), ollama.layer("json", b"{}")])
    ollama.add("tuned/latest", weights(), layers=[ollama.layer("adapter", b"a")])
    ollama.add("void/latest")
    (models, problems) = found_in(places())
    said = {model.name: model.problem for model in models}
    assert problems == []
    assert "runs in the cloud (https://ollama.com:443)" in said["big:cloud"]
    assert "safetensors" in said["mlx:latest"]
    assert "adapter" in said["tuned:latest"]
    assert "no weights" in said["void:latest"]
    assert all(model.file.paths == () for model in models)


def test_the_projector_and_the_template_are_not_the_model(ollama: OllamaStore, places, weights) -> None:
    data = weights()
    ollama.add("eye/latest", data, layers=[ollama.layer("projector", b"p"), ollama.layer("template", b"t")])
    ([model], _) = found_in(places())
    assert model.digest == sha256(data)


def test_where_the_stores_are(tmp_path: Path, home: Path, places, weights) -> None:
    for store in (
        tmp_path / "elsewhere",
        home / ".ollama" / "models",
        tmp_path / "root/usr/share/ollama/.ollama/models",
    ):
        OllamaStore(store).add(f"{store.parent.name.strip('.')}/latest", weights())
    (models, _) = found_in(places(OLLAMA_MODELS=tmp_path / "elsewhere"))
    assert len(models) == 3
    (models, _) = found_in(places())
    assert len(models) == 2
    (models, _) = found_in(places(platform="darwin"))
    assert [model.name for model in models] == ["ollama:latest"]


def test_one_store_under_two_names_is_searched_once(ollama: OllamaStore, tmp_path: Path, places, weights) -> None:
    ollama.add("a/latest", weights())
    (tmp_path / "link").symlink_to(ollama.root)
    (models, _) = found_in(places(OLLAMA_MODELS=tmp_path / "link"))
    assert len(models) == 1


def test_a_configured_store_that_is_missing_is_a_problem(tmp_path: Path, places) -> None:
    assert found_in(places()) == ([], [])
    (_, [problem]) = found_in(places(OLLAMA_MODELS=tmp_path / "no"))
    assert "OLLAMA_MODELS" in problem.message


def test_a_store_that_may_not_be_read_is_a_problem(ollama: OllamaStore, places, weights, forbid) -> None:
    ollama.add("a/latest", weights())
    forbid("a")
    (models, [problem]) = found_in(places())
    assert models == []
    assert (problem.path.name, problem.message) == ("a", "reading it is not permitted")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"layers": 3}', b'{"layers": null}', b"{}", b"[" * 100_000,
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:short"}]}',
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../../../etc/passwd"}]}',
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model"}]}',
        b" " * (2 << 20),
    ],
    ids=lambda content: repr(content[:40]),
)  # fmt: skip
def test_damaged_manifests_are_problems(ollama: OllamaStore, places, content: bytes) -> None:
    ollama.add("a/latest").write_bytes(content)
    (models, [problem]) = found_in(places())
    assert models == []
    assert "damaged" in problem.message


@pytest.mark.parametrize("kind", ["fifo", "directory", "dangling"])
def test_only_files_are_manifests(ollama: OllamaStore, places, kind: str) -> None:
    path = ollama.add("a/latest")
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    assert found_in(places()) == ([], [])


def test_a_manifest_that_vanished(ollama: OllamaStore, places) -> None:
    path = ollama.add("a/latest")
    (manifest,) = manifests(places())
    path.unlink()
    assert isinstance(manifest, Manifest)
    assert isinstance(read_manifest(manifest), ScanProblem)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
layers = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.sampled_from(["application/vnd.ollama.image.model", "application/vnd.ollama.image.tensor"])
        | json_values,
        "digest": st.sampled_from(["sha256:" + "a" * 64, "sha256:"]) | json_values,
        "size": json_values,
    },
)
contents = st.fixed_dictionaries(
    {}, optional={"config": layers | json_values, "layers": st.lists(layers | json_values, max_size=3) | json_values}
)


@given(content=contents | json_values, config=json_values)
def test_no_manifest_raises(tmp_path: Path, content: object, config: object) -> None:
    store = OllamaStore(tmp_path / "store")
    blob = store.root / "blobs" / ("sha256-" + "a" * 64)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_text(json.dumps(config))
    path = tmp_path / "manifest"
    path.write_text(json.dumps(content))
    found = read_manifest(Manifest(OllamaName(HOST, SPACE, "a", "b"), path, store.root))
    assert isinstance(found, Found | ScanProblem)
