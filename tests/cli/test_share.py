"""`workbench share` and `workbench remove`: one file for several programs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import HUB_NAME
from tests.library.conftest import write_gguf
from tests.library.stores import HuggingFaceCache, OllamaStore, sha256
from tests.servers.ollama import OllamaServer
from tests.servers.script import Exchange, Script
from workbench.engine.remote.ollama_create import QUESTION
from workbench.library.links import link_file
from workbench.library.places import Places
from workbench.store.paths import find_paths


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """The home of a user with a store of Ollama and a home of LM Studio."""
    home = tmp_path / "home"
    (home / ".ollama" / "models" / "blobs").mkdir(parents=True)
    (home / ".lmstudio" / "models").mkdir(parents=True)
    places = Places(home, {"HF_HUB_CACHE": str(home / "hub"), **_hub_environment()}, root=tmp_path / "root")
    for module in ("library.catalog", "cli.composition"):
        monkeypatch.setattr(f"workbench.{module}.find_places", lambda: places)
    return home


def _hub_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("HF_ENDPOINT",) if name in os.environ}


def cached(home: Path, tmp_path: Path, name: str = "Tiny-Q4_0.gguf", rows: int = 8) -> Path:
    data = write_gguf(tmp_path / "made.gguf", rows=rows).read_bytes()
    return HuggingFaceCache(home / "hub").add("maker/Tiny-GGUF", name, data)


def is_shared(one: Path, other: Path) -> bool:
    """Whether nothing was copied: where this disk has no reflinks, it is one file."""
    return one.samefile(other) or link_file(one, other.with_name("probe")) == "reflink"


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("lmstudio", ".lmstudio/models/maker/Tiny-GGUF/Tiny-Q4_0.gguf"),
        ("folder", "mine/Tiny-Q4_0.gguf"),
        ("own", None),
    ],
)
def test_a_model_is_used_from_another_place_without_a_copy(call, home, tmp_path: Path, place: str, path) -> None:
    source = cached(home, tmp_path)
    (source.parent / "mmproj-Tiny-F16.gguf").write_bytes(b"eyes")
    target = home / path if path else find_paths().models_dir / "Tiny-Q4_0.gguf"
    status, out, err = call("share", str(source), "--to", str(home / "mine") if place == "folder" else place)
    assert status == 0, err
    assert "nothing was copied" in out
    assert "deleting one" in out
    assert is_shared(source, target)
    assert (target.parent / "mmproj-Tiny-F16.gguf").read_bytes() == b"eyes"
    assert "is the same file already" in call("share", str(source), "--to", str(target.parent))[1]


def test_a_place_on_another_disk_is_refused_and_nothing_is_copied(call, home, tmp_path: Path, monkeypatch) -> None:
    def link(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    source = cached(home, tmp_path)
    monkeypatch.setattr("workbench.library.links.os.link", link)
    monkeypatch.setattr("workbench.library.links._reflink", lambda *_: False)
    status, _, err = call("share", str(source), "--to", "lmstudio")
    assert status == 1
    assert "on different disks" in err
    assert "Nothing was copied" in err
    assert not list((home / ".lmstudio").rglob("*.gguf"))


def test_a_model_of_ollama_gets_a_name_elsewhere(call, home) -> None:
    data = write_gguf(home / "made.gguf", rows=8).read_bytes()
    store = OllamaStore(home / ".ollama" / "models")
    store.add("tiny/1b", data, config={"file_type": "Q4_0"})
    assert call("share", "ollama:tiny:1b", "--to", "lmstudio")[0] == 0
    (found,) = (home / ".lmstudio").rglob("*.gguf")
    assert found.read_bytes() == data
    assert found.parent.parent.name == "workbench"


def test_ollama_runs_a_model_from_its_own_store_without_an_upload(
    call, home, tmp_path: Path, serve, monkeypatch
) -> None:
    source = cached(home, tmp_path)
    digest = sha256(source.read_bytes())
    server = OllamaServer(Script([Exchange(QUESTION, ("Hello", "."))]))
    monkeypatch.setenv("OLLAMA_HOST", serve(server).url)
    server.blobs = {f"sha256:{digest}": source.read_bytes()}
    status, out, err = call("share", str(source), "--to", "ollama", "--as", "mine:q4")
    assert status == 0, err
    assert "`ollama run mine:q4`" in out
    assert is_shared(source, home / ".ollama" / "models" / "blobs" / f"sha256-{digest}")
    assert not [asked for asked in server.asked if asked.method == "POST" and "blobs" in asked.path]


def test_without_ollama_nothing_is_left_in_its_store(call, home, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:1")
    source = cached(home, tmp_path)
    assert call("share", str(source), "--to", "ollama")[0] == 1
    assert not list((home / ".ollama" / "models" / "blobs").iterdir())


def test_the_cache_of_hugging_face_takes_a_file_that_a_repository_has(call, hub, home, tmp_path: Path) -> None:
    data = hub.content.files["Tiny-Q4_K_M.gguf"]
    source = tmp_path / "elsewhere.gguf"
    source.write_bytes(data)
    assert "Name it: --as USER/REPO" in call("share", str(source), "--to", "huggingface")[2]
    status, _, err = call("share", str(source), "--to", "huggingface", "--as", HUB_NAME)
    assert status == 0, err
    (blob,) = (home / "hub").rglob(f"blobs/{sha256(data)}")
    assert is_shared(source, blob)
    source.write_bytes(b"GGUF another")
    assert call("share", str(source), "--to", "huggingface", "--as", HUB_NAME)[0] == 1


def test_where_a_model_can_be_used_from_is_listed(call, home, tmp_path: Path) -> None:
    source = cached(home, tmp_path)
    found = {each["program"]: each for each in json.loads(call("share", str(source), "--json")[1])}
    assert found["huggingface"]["problem"] == "it is there"
    assert found["lmstudio"]["path"].endswith("maker/Tiny-GGUF/Tiny-Q4_0.gguf")
    assert found["ollama"]["path"].endswith("blobs")
    shutil.rmtree(home / ".lmstudio")
    shutil.rmtree(home / ".ollama")
    found = {each["program"]: each for each in json.loads(call("share", str(source), "--json")[1])}
    assert "LM Studio has no models of this user" in found["lmstudio"]["problem"]
    assert "Ollama has no store of this user" in found["ollama"]["problem"]


def test_copies_are_joined_after_a_question(call, home, tmp_path: Path) -> None:
    source = cached(home, tmp_path)
    copy = home / ".lmstudio" / "models" / "a" / "b" / "Tiny-Q4_0.gguf"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(source.read_bytes())
    inode = copy.stat().st_ino
    status, out, err = call("share", "--duplicates")
    assert (status, copy.stat().st_ino) == (1, inode)
    assert "Add --yes to agree" in err
    (found,) = json.loads(call("share", "--duplicates", "--json")[1])
    assert found["freed_bytes"] == copy.stat().st_size
    status, out, err = call("share", "--duplicates", "--yes")
    assert status == 0, err
    assert "came free" in out
    assert is_shared(source, copy)
    assert not list(copy.parent.glob(".workbench-*"))


def test_copies_that_differ_are_not_joined(call, home, tmp_path: Path) -> None:
    data = write_gguf(tmp_path / "made.gguf", rows=8).read_bytes()
    source = HuggingFaceCache(home / "hub").add("maker/Tiny-GGUF", "Tiny-Q4_0.gguf", data)
    # Sizes, headers and sampled weights are equal.
    copy = home / ".lmstudio" / "models" / "a" / "b" / "Tiny-Q4_0.gguf"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(data)
    from workbench.cli.composition import compose

    sharing = compose().sharing
    joining = sharing.copies(next(each for each in compose().catalog.list_models() if len(each.places) > 1))
    copy.write_bytes(data[:-1] + b"?")
    with pytest.raises(Exception, match="differ"):
        sharing.join(joining)
    assert (source.read_bytes(), copy.read_bytes()) == (data, data[:-1] + b"?")


def test_deleting_says_who_loses_it_and_where_it_stays(call, home, tmp_path: Path) -> None:
    source = cached(home, tmp_path)
    other = cached(home, tmp_path, "Tiny-Q8_0.gguf", rows=16)
    assert call("share", str(source), "--to", "lmstudio")[0] == 0
    theirs = home / ".lmstudio" / "models" / "maker" / "Tiny-GGUF" / "Tiny-Q4_0.gguf"
    status, _, err = call("remove", str(source))
    assert status == 1
    assert "llama.cpp and every other program" in err
    assert f"It stays in LM Studio, as the same file under another name: {theirs}" in err or "as a copy" in err
    assert source.exists()
    status, out, _ = call("remove", str(source), "--yes", "--json")
    assert (status, json.loads(out)["removed"]) == (0, True)
    assert theirs.exists()
    assert not source.is_symlink()
    assert other.exists()
    assert len(list((home / "hub").rglob("blobs/*"))) == 1
    assert call("remove", str(theirs), "--yes")[0] == 0
    assert list((home / ".lmstudio" / "models").iterdir()) == []


def test_what_belongs_to_others_is_not_deleted(call, home) -> None:
    OllamaStore(home / ".ollama" / "models").add("tiny/1b", write_gguf(home / "made.gguf", rows=8).read_bytes())
    assert "`ollama rm tiny:1b`" in call("remove", "ollama:tiny:1b", "--yes")[2]
    assert "pip uninstall" in call("remove", "demo", "--yes")[2]
