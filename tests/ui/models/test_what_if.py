"""Other settings on trial: every lever has a key, and contexts can be typed."""

from __future__ import annotations

from ast import literal_eval
from pathlib import Path

import pytest
from textual.binding import Binding

from tests.reliability.toys import experts
from tests.ui.fakes import FakeFiles
from tests.ui.models.fits import HOST, WITH_GPUS, fitter_on
from workbench.core.errors import ParameterError
from workbench.core.models import ModelEntry
from workbench.core.parameters import KV_TYPES, LoadSettings
from workbench.gguf.shares import DeviceRoom, Room
from workbench.ui.models.fit import FitEstimator
from workbench.ui.models.keys import WHAT_IF
from workbench.ui.models.what_if import CACHE_TYPES, LONGEST, WhatIf, next_context, typed_context

TRIALS = [
    literal_eval(f"({binding.action.removeprefix('screen.what_if(').removesuffix(')')},)")
    for binding in WHAT_IF
    if isinstance(binding, Binding) and binding.action.startswith("screen.what_if(")
]
"""The arguments of the keys that try other settings."""


@pytest.fixture
def mixture_entry(tmp_path: Path) -> ModelEntry:
    """A mixture of experts of 2 layers, whose experts take 192 KiB of its 300 KiB or so."""
    path = experts(tmp_path / "m.gguf")
    return ModelEntry("m", "Mixture", "F32", str(path), path.stat().st_size)


async def learned(room: Room, model: ModelEntry) -> FitEstimator:
    estimator = fitter_on(FakeFiles(room))
    async for _ in estimator.learn([model]):
        pass
    return estimator


async def test_every_lever_has_a_key_that_changes_the_estimate(mixture_entry: ModelEntry) -> None:
    estimator = await learned(WITH_GPUS, mixture_entry)
    changed = set()
    for name, *step in TRIALS:
        for base in ({}, {"num_cpu_moe": 1, "num_gpu": 1, "num_ctx": 1024}):
            estimator.what_if = WhatIf(LoadSettings(), base)
            estimator.try_next(name, *(step or [1]), mixture_entry)
            changed |= {key for key, value in estimator.what_if.values.items() if base.get(key) != value}
            assert estimator.estimate(mixture_entry) is not None
    assert changed >= {
        "num_ctx", "type_k", "type_v", "num_gpu", "flash_attn", "num_batch", "num_ubatch", "load_mode", "num_cpu_moe",
        "offload_kqv", "devices", "swa_full",
    }  # fmt: skip


async def test_the_gpus_are_filled_with_the_fewest_experts_on_the_cpu(mixture_entry: ModelEntry) -> None:
    estimator = await learned(Room(HOST.host, (DeviceRoom("CUDA0", 2**40),)), mixture_entry)
    settings = {"num_ctx": 256, "num_ubatch": 32}
    estimator.what_if = WhatIf(LoadSettings(**settings))
    estimator.try_next("fullest", 1, mixture_entry)
    assert estimator.what_if.values == {"num_gpu": 3}
    whole = estimator.estimate(mixture_entry).fit.shares[1].total_bytes
    for missing, expected in ((1, {"num_cpu_moe": 1, "num_gpu": 3}), (10**9, {"num_cpu_moe": -1, "num_gpu": 0})):
        estimator = await learned(Room(HOST.host, (DeviceRoom("CUDA0", whole - missing),)), mixture_entry)
        estimator.what_if = WhatIf(LoadSettings(**settings))
        estimator.try_next("fullest", 1, mixture_entry)
        assert estimator.what_if.values == expected
        assert estimator.estimate(mixture_entry).fit.fits


async def test_levers_of_gpus_say_that_there_is_none(mixture_entry: ModelEntry) -> None:
    estimator = await learned(HOST, mixture_entry)
    for name in ("num_gpu", "num_cpu_moe", "devices", "fullest"):
        with pytest.raises(ParameterError, match="sees no GPU"):
            estimator.try_next(name, 1, mixture_entry)


def test_changes_that_change_nothing_are_none() -> None:
    what_if = WhatIf(LoadSettings()).put("num_ctx", 4096).put("type_k", "q8_0").put("num_ctx", 0)
    assert what_if.values == {"type_k": "q8_0"}
    assert what_if.settings.type_k == "q8_0"
    assert what_if.on(LoadSettings(type_k="q8_0")).values == {}
    with pytest.raises(ParameterError):
        what_if.put("num_ctx", -4)


def test_types_go_round() -> None:
    what_if = WhatIf(LoadSettings())
    seen = []
    for _ in KV_TYPES:
        seen.append(what_if.settings.type_k)
        what_if = what_if.next("type_k")
    assert seen == list(CACHE_TYPES)
    assert sorted(seen) == sorted(KV_TYPES)
    assert what_if.values == {}
    assert what_if.next("type_v").settings.type_v == CACHE_TYPES[1]


def test_contexts_are_doubled_and_stop_at_what_was_trained() -> None:
    assert [next_context(now, 1, 40960) for now in (256, 5000, 32768, 40960)] == [512, 8192, 40960, 65536]
    assert [next_context(now, -1, 40960) for now in (65536, 40960, 5000, 256)] == [40960, 32768, 4096, 256]
    assert next_context(LONGEST, 1, None) == LONGEST


@pytest.mark.parametrize(
    ("typed", "tokens"), [("16384", 16384), ("16,384", 16384), ("16k", 16384), (" 1.5K ", 1536), ("1M", 2**20)]
)
def test_a_context_can_be_typed(typed: str, tokens: int) -> None:
    assert typed_context(typed) == tokens


@pytest.mark.parametrize("typed", ["", "abc", "-5", "0", "99999999999", "1e5", "16kk", "٣", "9" * 400])
def test_a_text_that_is_not_a_context_is_refused(typed: str) -> None:
    with pytest.raises(ParameterError):
        typed_context(typed)
