"""`workbench verify`: digests, extents and scales."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path

import pytest

from tests.cli.conftest import HUB_NAME
from tests.library.conftest import write_gguf
from tests.library.stores import HuggingFaceCache, OllamaStore
from workbench.gguf.reader import read_header
from workbench.gguf.scales import not_finite
from workbench.store.paths import find_paths

PIECE = 1024


def verified(call, path: Path) -> tuple[int, dict[str, object]]:
    status, out, _ = call("verify", str(path), "--json")
    return status, json.loads(out)


@pytest.mark.parametrize("store", ["huggingface", "ollama", "folder"])
def test_a_flipped_bit_is_found(call, tmp_path: Path, store: str) -> None:
    data = write_gguf(tmp_path / "made.gguf").read_bytes()
    if store == "huggingface":
        path = HuggingFaceCache(tmp_path / "hub").add("a/b", "x-F32.gguf", data)
    elif store == "ollama":
        path = OllamaStore(tmp_path / "store").blob(data)
    else:
        path = tmp_path / "made.gguf"
    status, found = verified(call, path)
    assert (status, found["ok"], found["expected"]) == (0, True, None if store == "folder" else found["sha256"])
    path.resolve().write_bytes(data[:-1] + b"\x01")
    status, found = verified(call, path)
    assert (status, found["ok"]) == ((0, True) if store == "folder" else (1, False))


def test_a_truncated_file_is_found(call, tmp_path: Path) -> None:
    path = HuggingFaceCache(tmp_path / "hub").add("a/b", "x.gguf", write_gguf(tmp_path / "made.gguf").read_bytes())
    path.resolve().write_bytes(path.read_bytes()[:-100])
    status, found = verified(call, path)
    assert status == 1
    assert any("truncated" in problem for problem in found["problems"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_found(call, tmp_path: Path, value: float) -> None:
    path = write_gguf(tmp_path / "x.gguf")
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<f", value))
    status, found = verified(call, path)
    assert status == 1
    assert found["problems"] == ["token_embd.weight (F32) has 1 scales or weights that are NaN or infinite"]


def test_scales_of_quantized_blocks(short_demo: Path, tmp_path: Path) -> None:
    header = read_header(short_demo)
    assert list(not_finite(header, lambda _: None)) == []
    damaged = tmp_path / "damaged.gguf"
    data = bytearray(short_demo.read_bytes())
    scales = {"Q4_0": 0, "Q4_1": 2, "Q8_0": 0, "Q6_K": 208, "Q4_K": 2, "Q5_K": 0, "Q5_1": 2, "Q5_0": 0}
    tensor = next(tensor for tensor in header.tensors if tensor.type.name in scales)
    place = header.data_offset + tensor.offset + 3 * tensor.type.block_bytes + scales[tensor.type.name]
    data[place : place + 2] = b"\x00\x7c"
    damaged.write_bytes(data)
    (found,) = not_finite(read_header(damaged), lambda _: None)
    assert found.startswith(f"{tensor.name} ({tensor.type.name}) has 1 scale")


@pytest.fixture
def big(hub, monkeypatch) -> bytes:
    """A model of some pieces at the Hub."""
    monkeypatch.setattr("workbench.library.pull.download.PIECE", PIECE)
    data = random.Random(3).randbytes(5 * PIECE + 77)
    hub.content.files = {"Tiny-Q4_K_M.gguf": hub.content.files["Tiny-Q4_K_M.gguf"] + data}
    return hub.content.files["Tiny-Q4_K_M.gguf"]


def pulled(call, *words: str) -> Path:
    return Path(call("pull", f"hf.co/{HUB_NAME}", *words)[1].strip())


def repaired(call, path: Path, *words: str) -> dict[str, object]:
    return json.loads(call("verify", str(path), "--repair", *words, "--json")[1])


def damage(path: Path, *places: int) -> None:
    with path.resolve().open("r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("where", ["cache", "folder"])
def test_only_the_wrong_ranges_are_fetched_again(call, big: bytes, tmp_path: Path, where: str) -> None:
    path = pulled(call, *(["--into", str(tmp_path / "mine")] if where == "folder" else []))
    inode = path.stat().st_ino
    damage(path, PIECE + 5, 3 * PIECE, len(big) - 1)
    status, out, _ = call("verify", str(path))
    assert status == 1
    assert f"in the 1.0 KiB after byte {PIECE:,}" in out
    found = repaired(call, path)
    assert (found["ok"], found["repaired_bytes"]) == (True, 2 * PIECE + len(big) % PIECE)
    assert path.read_bytes() == big
    assert path.stat().st_ino == inode


def test_what_a_check_found_sound_can_be_repaired_in_ranges_later(call, big: bytes) -> None:
    path = pulled(call)
    for kept in find_paths().pieces_dir.iterdir():
        kept.unlink()
    assert call("verify", str(path))[0] == 0
    damage(path, 2 * PIECE)
    assert repaired(call, path)["repaired_bytes"] == PIECE


@pytest.mark.parametrize("change", ["short", "long", "hole", "bits"])
def test_without_kept_digests_the_range_or_the_whole_file_is_fetched(call, hub, tmp_path: Path, big, change) -> None:
    path = HuggingFaceCache(tmp_path / "hf" / "hub").add(HUB_NAME, "Tiny-Q4_K_M.gguf", big, commit=hub.content.commit)
    blob = path.resolve()
    wrong = {"short": big[:-2000], "long": big + b"more", "hole": big[:PIECE] + bytes(PIECE) + big[2 * PIECE :]}
    blob.write_bytes(wrong.get(change, b"x" + big[1:]))
    found = repaired(call, path)
    assert found["ok"]
    assert path.read_bytes() == big
    fetched = {"short": 2 * PIECE + len(big) % PIECE, "long": 0, "hole": PIECE, "bits": len(big)}
    assert found["repaired_bytes"] == fetched[change]
    assert not list(blob.parent.glob("*.workbench-*"))


def test_a_repair_names_the_other_names_of_the_file(call, big: bytes, tmp_path: Path) -> None:
    path = pulled(call, "--into", str(tmp_path / "mine"))
    os.link(path, tmp_path / "other.gguf")
    damage(path, 0)
    assert "other names (hard links) are repaired too" in call("verify", str(path), "--repair")[2]


def test_what_cannot_be_repaired_says_why(call, hub, big: bytes, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    assert "Name the repository: --from REF" in call("verify", str(path), "--repair")[2]
    assert "has no file x.gguf" in call("verify", str(path), "--repair", "--from", f"hf.co/{HUB_NAME}")[2]
    path = pulled(call)
    damage(path, 0)
    hub.content.files = {"Tiny-Q4_K_M.gguf": b"another"}
    assert "another version of Tiny-Q4_K_M.gguf now" in call("verify", str(path), "--repair")[2]


def test_a_file_is_repaired_by_the_repository_that_is_named(call, big: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Tiny-Q4_K_M.gguf"
    path.write_bytes(big[: PIECE // 2])
    assert repaired(call, path, "--from", f"hf.co/{HUB_NAME}")["ok"]
    assert path.read_bytes() == big
