"""`workbench verify`: digests, extents and scales."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.library.conftest import write_gguf
from tests.library.stores import HuggingFaceCache, OllamaStore
from workbench.gguf.reader import read_header
from workbench.gguf.scales import not_finite


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


def test_scales_of_quantized_blocks(demo_path: Path, tmp_path: Path) -> None:
    header = read_header(demo_path)
    assert list(not_finite(header, lambda _: None)) == []
    damaged = tmp_path / "damaged.gguf"
    data = bytearray(demo_path.read_bytes())
    scales = {"Q4_0": 0, "Q4_1": 2, "Q8_0": 0, "Q6_K": 208, "Q4_K": 2, "Q5_K": 0, "Q5_1": 2, "Q5_0": 0}
    tensor = next(tensor for tensor in header.tensors if tensor.type.name in scales)
    place = header.data_offset + tensor.offset + 3 * tensor.type.block_bytes + scales[tensor.type.name]
    data[place : place + 2] = b"\x00\x7c"
    damaged.write_bytes(data)
    (found,) = not_finite(read_header(damaged), lambda _: None)
    assert found.startswith(f"{tensor.name} ({tensor.type.name}) has 1 scale")
