"""The arithmetic of memory against llama.cpp itself, for a toy model of every architecture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gguf.estimates import estimate
from tests.gguf.zoo import SMALL, Shape
from tests.gguf.zoo_loader import Loader
from workbench.gguf.compute import NO_FLASH_ATTENTION
from workbench.gguf.kinds import DECODERS
from workbench.gguf.memory import CacheSettings
from workbench.gguf.reader import read_header

LEFT_OUT = {"gptj": "llama.cpp knows its name, and does not load it"}
"""Architectures of models that generate text, of which llama.cpp loads no toy, with the reason. All others are drafts,
encoders, diffusion models and parts of other models, which the program does not open (`kinds.py`)."""
ARCHITECTURES = sorted(DECODERS - LEFT_OUT.keys())
SAMPLE = (
    "afmoe", "apertus", "chameleon", "deepseek32", "dots1", "falcon-h1", "gemma3n", "gemma4", "glm5-next", "gpt-oss",
    "granitehybrid", "kimi-linear", "laguna", "llama", "mamba2", "minimax-01", "phi3", "plm", "qwen3moe", "qwen4exp",
    "rwkv6", "rwkv7",
)  # fmt: skip
"""What is looked at each time; `make soak` looks at all."""
WIDE = Shape(2048, heads=16, kv_heads=16, head=128, feed=5632, vocab=32000, experts=16, used=2, expert_feed=1408)
LARGE = Shape(4096, heads=32, kv_heads=8, head=128, feed=14336, vocab=128256, experts=64, used=8, expert_feed=1024)
"""Shapes of real models, of which four layers weigh in F32 about as much as thirty in four bits."""
SMALL_ONLY = ("dots3note",)
"""Architectures with whose larger toys llama.cpp fails an assertion."""
SETTINGS = [
    *(CacheSettings(n_ctx, kind, kind) for n_ctx in (2048, 8192) for kind in ("f16", "q8_0")),
    CacheSettings(8192, ubatch=128, full_window=True),
]
WIDER = [
    *(CacheSettings(n_ctx, kind, kind) for n_ctx in (4096, 32768) for kind in ("f16", "q8_0")),
    CacheSettings(4096, ubatch=2048),
    CacheSettings(4096, ubatch=128),
]
CLOSE = 0.03
"""How far the whole may be off."""
ROUGH = {"deepseek4": 0.1, "dots3note": 0.04, "glm5-next": 0.13, "minimax-m3": 0.04, "qwen": 0.04}
"""Architectures whose compute buffer is known less well, and by how much the whole may be off."""
MIB = 2**20


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader() as loader:
        yield loader


def test_almost_all_architectures_are_known_well() -> None:
    assert len(ARCHITECTURES) - len(ROUGH) >= 120


@pytest.mark.parametrize("architecture", SAMPLE)
def test_a_toy_takes_what_was_estimated(tmp_path: Path, loader: Loader, architecture: str) -> None:
    look_at(tmp_path / "m.gguf", architecture, loader, SMALL, SETTINGS[:4:3])


@pytest.mark.soak
@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        pytest.param(architecture, shape, id=f"{architecture}-{name}")
        for architecture in ARCHITECTURES
        for name, shape in (("small", SMALL), ("wide", WIDE), ("large", LARGE))
        if shape is SMALL or architecture not in SMALL_ONLY
    ],
)
def test_every_toy_takes_what_was_estimated(tmp_path: Path, loader: Loader, architecture: str, shape: Shape) -> None:
    look_at(tmp_path / "m.gguf", architecture, loader, shape, SETTINGS if shape is SMALL else WIDER)


def look_at(path: Path, architecture: str, loader: Loader, shape: Shape, settings: Sequence[CacheSettings]) -> None:
    assert loader.make(path, architecture, shape) == ""
    header, off = read_header(path), ROUGH.get(architecture, CLOSE)
    if architecture in NO_FLASH_ATTENTION:
        # Then values cannot be quantized.
        settings = [replace(each, type_v="f16", flash_attention=False) for each in settings]
    looked = 0
    # The weights and caches of a large toy would not fit into the memory of this machine: they are taken as estimated.
    for each, taken in zip(settings, loader.measure(path, settings, only_compute=shape is not SMALL), strict=True):
        # llama.cpp refuses some cache types.
        if not taken:
            continue
        looked += 1
        expected = estimate([header], each)
        inner = taken.get("compute", 0.0) + taken.get("output", 0.0)
        total = expected.total_bytes - expected.compute_bytes + inner * MIB
        if shape is SMALL:
            kept = sum(taken.get(kind, 0.0) for kind in ("KV", "RS", "state"))
            # llama.cpp logs hundredths of a MiB, once for each kind of memory.
            assert expected.kv_bytes / MIB == pytest.approx(kept, abs=0.025), each
            total = (taken["model"] + kept + inner) * MIB
        assert expected.total_bytes == pytest.approx(total, rel=off), each
    assert looked >= 2
