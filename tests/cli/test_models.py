from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.library.conftest import write_gguf
from tests.library.stores import HuggingFaceCache, OllamaStore
from workbench.library.places import Places

FIELDS = {
    "id", "name", "quant", "bits_per_weight", "size_bytes", "path", "source", "architecture", "parameters",
    "context_length", "complete", "tensor_quant", "label_mismatch", "group", "places", "digest", "loaded", "problem",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_gguf(folder / "Tiny-3B-F32.gguf", rows=8)
    write_gguf(folder / "Tiny-3B-Q8_0.gguf", rows=4)
    write_gguf(folder / "Other-1B-F32.gguf", rows=6)
    (folder / "Broken-Q4_0.gguf").write_bytes(b"")
    return folder


def listed(call, *arguments: object) -> list[dict[str, object]]:
    status, out, _ = call("models", *map(str, arguments), "--json")
    assert status == 0
    return json.loads(out)


def test_the_fields(call, folder: Path) -> None:
    found = {(entry["name"], entry["quant"]): entry for entry in listed(call, folder)}
    assert all(set(entry) == FIELDS for entry in found.values())
    entry = found["Tiny-3B", "Q8_0"]
    assert (entry["id"], entry["path"]) == (str(folder / "Tiny-3B-Q8_0.gguf"),) * 2
    assert (entry["parameters"], entry["bits_per_weight"], entry["context_length"]) == (128, 32.0, 2048)
    assert (entry["tensor_quant"], entry["complete"], entry["problem"]) == ("F32", True, None)
    assert entry["label_mismatch"].startswith("The label says Q8_0")
    assert entry["group"] == found["Tiny-3B", "F32"]["group"] != found["Other-1B", "F32"]["group"]
    assert entry["places"] == [{"source": str(folder), "path": entry["path"], "ref": entry["path"], "name": ""}]
    broken = found["Broken", "Q4_0"]
    assert (broken["complete"], broken["parameters"]) == (False, None)
    assert "empty" in broken["problem"]


def test_quantizations_stand_together_in_the_table(call, folder: Path) -> None:
    status, out, err = call("models", str(folder))
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["model", "quant", "bits"]
    assert [line.split()[0] for line in lines[1:]] == ["Broken", "Other-1B", "Tiny-3B", "F32"]
    assert "Q8_0 ?" in lines[3]
    assert "Broken Q4_0: not a GGUF file" in err
    assert "Tiny-3B Q8_0: The label says Q8_0" in err


@pytest.mark.parametrize(
    ("by", "first", "last"),
    [
        ("name", "Broken", "Tiny-3B"),
        ("size", "Broken", "Tiny-3B"),
        ("parameters", "Broken", "Tiny-3B"),
        ("bits", "Broken", "Tiny-3B"),
    ],
)
def test_sorting(call, folder: Path, by: str, first: str, last: str) -> None:
    found = listed(call, folder, "--sort", by)
    assert (found[0]["name"], found[-1]["name"]) == (first, last)
    if by == "size":
        sizes = [entry["size_bytes"] or 0 for entry in found]
        assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tiny", ["Tiny-3B", "Tiny-3B"]),
        ("Q8_0", ["Tiny-3B"]),
        ("OTHER", ["Other-1B"]),
        ("nothing", []),
        ("llama", ["Other-1B", "Tiny-3B", "Tiny-3B"]),
    ],
    ids=list("abcde"),
)
def test_filtering(call, folder: Path, text: str, names: list[str]) -> None:
    assert [entry["name"] for entry in listed(call, folder, "--filter", text)] == names


def test_nothing_found_is_said(call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, out, err = call("models", str(tmp_path / "empty"))
    assert (status, out) == (0, "")
    assert "model_folders" in err


def test_a_missing_folder_is_reported(call, tmp_path: Path) -> None:
    status, out, err = call("models", str(tmp_path / "nowhere"), "--json")
    assert (status, json.loads(out)) == (0, [])
    assert "nowhere: there is no such folder or file" in err


def test_names_that_would_act_upon_the_terminal(call, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    write_gguf(folder / "a\x1b[2J-F32.gguf")
    (folder / "gone\x1b[2J.gguf").symlink_to("nowhere")
    write_gguf(folder / "plain.gguf", rows=9).rename(folder / os.fsdecode(b"caf\xe9-F32.gguf"))
    status, out, err = call("models", str(folder))
    assert status == 0
    assert "\x1b" not in out + err
    out.encode()
    (first, second) = listed(call, folder)
    assert {Path(first["path"]).name, Path(second["path"]).name} == {
        "a\x1b[2J-F32.gguf",
        os.fsdecode(b"caf\xe9-F32.gguf"),
    }


@pytest.fixture
def stores(tmp_path: Path, monkeypatch) -> tuple[OllamaStore, HuggingFaceCache]:
    """The stores of the user who runs the command."""
    home = tmp_path / "user"
    monkeypatch.setattr("workbench.library.catalog.find_places", lambda: Places(home, {}, "linux", tmp_path / "root"))
    return OllamaStore(home / ".ollama/models"), HuggingFaceCache(home / ".cache/huggingface/hub")


def test_the_stores_of_other_programs(call, tmp_path: Path, stores) -> None:
    ollama, hub = stores
    data = write_gguf(tmp_path / "x.gguf", name="Tiny 3B", rows=4).read_bytes()
    ollama.add("tiny/3b", data)
    hub.add("user/Tiny-GGUF", "Tiny-3B-F32.gguf", data)
    hub.add("user/Tiny-GGUF", "Tiny-3B-Q8_0.gguf", write_gguf(tmp_path / "y.gguf", rows=5).read_bytes())
    found = {entry["id"]: entry for entry in listed(call) if entry["id"] != "demo"}
    assert len(found) == 2
    entry = found["ollama:tiny:3b"]
    assert [place["source"] for place in entry["places"]] == ["ollama", "huggingface"]
    assert len({entry["group"] for entry in found.values()}) == 1
    _, out, _ = call("models")
    assert "ollama +1" in out
    # Folders that are named are looked into alone.
    assert listed(call, tmp_path / "user" / "nothing") == []


def test_stores_can_be_chosen(call, tmp_path: Path, stores) -> None:
    ollama, hub = stores
    ollama.add("tiny/3b", write_gguf(tmp_path / "x.gguf", rows=4).read_bytes())
    hub.add("user/Tiny-GGUF", "Tiny-3B-Q8_0.gguf", write_gguf(tmp_path / "y.gguf", rows=5).read_bytes())
    config = tmp_path / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    for chosen, sources in ((["huggingface"], {"huggingface"}), ([], set())):
        config.write_text(f"model_stores = {json.dumps(chosen)}\n")
        assert {entry["source"] for entry in listed(call)} - {"demo"} == sources


def test_what_was_read_is_kept_for_the_next_time(call, folder: Path, tmp_path: Path) -> None:
    first = listed(call, folder)
    rows = json.loads((tmp_path / "home" / "cache" / "library.json").read_text())["files"]
    assert {Path(path).name for path in rows} == {"Tiny-3B-F32.gguf", "Tiny-3B-Q8_0.gguf", "Other-1B-F32.gguf"}
    assert listed(call, folder) == first
