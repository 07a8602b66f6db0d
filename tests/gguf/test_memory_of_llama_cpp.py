"""The arithmetic of memory against llama.cpp itself, which runs in a process of its own: it may abort."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gguf.estimates import estimate, kv_bytes
from tests.lora import write_lora
from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel, FitQuestion
from workbench.gguf.lora import check_adapter
from workbench.gguf.memory import CacheSettings
from workbench.gguf.shares import DeviceRoom, Room

CHILD = """
import ctypes, json, re, sys
from workbench.engine.llama.bindings import llama_cpp as api

lines = []
callback = api.llama_log_callback(lambda level, text, _: lines.append(text.decode()))
api.llama_log_set(callback, None)
kinds = {"f32": 0, "f16": 1, "q8_0": 8, "q4_0": 2}
for line in sys.stdin:
    case = json.loads(line)
    lines.clear()
    model = api.llama_model_load_from_file(case["path"].encode(), api.llama_model_default_params())
    if case["adapter"]:
        api.llama_adapter_lora_init(model, case["adapter"].encode())
    params = api.llama_context_default_params()
    params.n_ctx, params.n_ubatch, params.n_seq_max = case["n_ctx"], case["ubatch"], case["sequences"]
    params.n_batch = max(512, case["ubatch"])
    params.type_k, params.type_v = kinds[case["type_k"]], kinds[case["type_v"]]
    params.kv_unified, params.swa_full = case["unified"], case["full_window"]
    params.flash_attn_type = 1 if case["flash_attention"] else 0
    params.n_threads = params.n_threads_batch = 1
    context = api.llama_init_from_model(model, params)
    log = "".join(lines)
    sizes = {kind: [float(size) for size in re.findall(kind + r" buffer size = +([\\d.]+) MiB", log)] for kind in
             ("model", "LoRA", "KV", "compute", "output")}
    print(json.dumps(sizes))
    sys.stdout.flush()
    api.llama_free(context)
    api.llama_model_free(model)
"""

MODELS = {
    "multi-head": {"heads": 4, "kv_heads": 4},
    "grouped": {"heads": 4, "kv_heads": 1, "width": 256},
    "heads of each layer": {"architecture": "deci", "heads": 4, "kv_heads": [4, 2, 1], "layers": 3, "width": 128},
    "long heads": {"heads": 4, "kv_heads": 2, "key_length": 64, "value_length": 64},
    "window": {"architecture": "gemma2", "layers": 5, "width": 256, "keys": {".attention.sliding_window": 300}},
    "every layer windowed": {
        "architecture": "gemma2",
        "layers": 3,
        "width": 256,
        "keys": {".attention.sliding_window": 100, ".attention.sliding_window_pattern": 0},
    },
}
NARROW = {"multi-head"}
"""Their heads are narrower than a block of the quantized types."""
SETTINGS = [
    CacheSettings(256),
    CacheSettings(1000, ubatch=64),
    CacheSettings(8192),
    CacheSettings(8192, ubatch=128, full_window=True),
    CacheSettings(4096, sequences=3),
    CacheSettings(4096, sequences=3, unified=False),
    CacheSettings(2048, type_k="f32", type_v="f32"),
    CacheSettings(2048, flash_attention=False),
    CacheSettings(2048, type_k="q8_0", type_v="q4_0"),
]


@pytest.fixture(scope="module")
def llama_cpp():
    """Asks llama.cpp for the sizes of its buffers in MiB."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def ask(path: Path, settings: CacheSettings, adapter: Path | None = None) -> dict[str, list[float]]:
            case = {
                "path": str(path),
                "adapter": str(adapter or ""),
                **{name: getattr(settings, name) for name in settings.__slots__},
            }
            child.stdin.write(json.dumps(case) + "\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        yield ask
        child.stdin.close()


@pytest.mark.parametrize("name", MODELS)
def test_caches_have_the_size_that_llama_cpp_gives_them(tmp_path: Path, model_writer, llama_cpp, name: str) -> None:
    path = model_writer(tmp_path / "m.gguf", **MODELS[name])
    (header,) = check_loadable(path)
    for settings in SETTINGS:
        if settings.type_k == "q8_0" and name in NARROW:
            continue
        sizes = llama_cpp(path, settings)["KV"]
        assert sizes, settings
        # llama.cpp logs hundredths of a MiB, which is less than one layer of any of these takes.
        expected = kv_bytes(header.metadata, settings) / 2**20
        assert sum(sizes) == pytest.approx(expected, abs=0.00501 * len(sizes)), settings


@pytest.mark.parametrize(
    "settings",
    [
        CacheSettings(512),
        CacheSettings(2048, ubatch=64),
        CacheSettings(8192),
        CacheSettings(8192, flash_attention=False),
        CacheSettings(16384, ubatch=256, type_k="q8_0", type_v="q8_0"),
    ],
    ids=str,
)
def test_the_demo_model_takes_what_was_estimated(demo_path: Path, llama_cpp, settings: CacheSettings) -> None:
    expected = estimate(check_loadable(demo_path), settings).total_bytes / 2**20
    assert sum(map(sum, llama_cpp(demo_path, settings).values())) == pytest.approx(expected, rel=0.03)


SHAPES = {
    "a large vocabulary": {"vocab": 32000},
    "an output of its own": {"vocab": 32000, "tied": False},
    "a wide feed-forward network": {"vocab": 1000, "feed_forward": 3072},
    "many heads": {"heads": 16, "kv_heads": 16, "width": 512, "feed_forward": 1024, "vocab": 500},
    "shared heads": {"heads": 16, "kv_heads": 2, "width": 1024, "feed_forward": 2816, "vocab": 8000, "tied": False},
    "one head for all": {"heads": 8, "kv_heads": 1, "width": 512, "feed_forward": 1024, "vocab": 2000},
    "long heads": {"heads": 4, "kv_heads": 2, "key_length": 128, "value_length": 128, "vocab": 500},
}


@pytest.mark.parametrize("name", SHAPES)
def test_models_of_many_shapes_take_what_was_estimated(tmp_path: Path, model_writer, llama_cpp, name: str) -> None:
    path = model_writer(tmp_path / "m.gguf", **{"width": 256, "layers": 4, "feed_forward": 512, **SHAPES[name]})
    headers = check_loadable(path, writes=False)
    for settings in (
        CacheSettings(512),
        CacheSettings(4096, ubatch=64),
        CacheSettings(4096, flash_attention=False),
        CacheSettings(16384, ubatch=256),
    ):
        expected = estimate(headers, settings).total_bytes / 2**20
        assert sum(map(sum, llama_cpp(path, settings).values())) == pytest.approx(expected, rel=0.03), settings


@pytest.mark.parametrize(("tensors", "rank"), [(1, 4), (20, 16), (60, 64)])
def test_an_adapter_takes_what_its_matrices_have(
    tmp_path: Path, demo_path: Path, llama_cpp, tensors: int, rank: int
) -> None:
    path = write_lora(tmp_path / "lora.gguf", demo_path, tensors=tensors, rank=rank)
    headers = check_loadable(demo_path)
    model = FitModel(headers, adapter=check_adapter(path, headers))
    sizes = llama_cpp(demo_path, CacheSettings(512), path)
    # llama.cpp logs hundredths of a MiB.
    assert sum(sizes["LoRA"]) == pytest.approx(model.adapter_bytes / 2**20, abs=0.00501)
    fit = model.price(FitQuestion(512), Room(DeviceRoom("CPU", 2**36)))
    assert sum(map(sum, sizes.values())) == pytest.approx(fit.total_bytes / 2**20, rel=0.03)
