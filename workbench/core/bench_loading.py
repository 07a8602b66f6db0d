"""The settings of a benchmark as load settings, and back."""

from __future__ import annotations

from workbench.core.bench import BenchSettings, BenchTest
from workbench.core.load_settings import LoadSettings

CELLS = 256
"""llama.cpp rounds the context of each sequence up to a multiple of this."""

_SAME = {
    "n_batch": "num_batch", "n_ubatch": "num_ubatch", "n_cpu_moe": "num_cpu_moe", "split_mode": "split_mode",
    "main_gpu": "main_gpu", "n_threads": "num_thread", "n_threads_batch": "num_thread_batch", "type_k": "type_k",
    "type_v": "type_v", "flash_attn": "flash_attn", "engine_host": "engine_host",
}  # fmt: skip
"""The settings of a benchmark that load settings have too, under their names there."""


def as_load_settings(settings: BenchSettings, test: BenchTest) -> LoadSettings:
    """The equivalent load settings, to ask what fits in memory."""
    own = -(-(test.context // test.sequences) // CELLS) * CELLS
    return LoadSettings(
        num_ctx=test.sequences * own,
        num_gpu=0 if settings.devices == "none" else settings.n_gpu_layers,
        override_tensor=_listed(settings.tensor_buft_overrides, ";"),
        tensor_split=_listed(settings.tensor_split, "/"),
        devices=() if settings.devices in ("auto", "none") else _listed(settings.devices, "/"),
        offload_kqv=not settings.no_kv_offload,
        load_mode=settings.load_mode,
        **{load: getattr(settings, bench) for bench, load in _SAME.items()},
    )


def as_bench_settings(load: LoadSettings) -> BenchSettings:
    """The equivalent settings of a benchmark."""
    return BenchSettings(
        n_gpu_layers=load.num_gpu,
        tensor_buft_overrides=";".join(load.override_tensor),
        tensor_split="/".join(load.tensor_split),
        devices="/".join(load.devices) or "auto",
        no_kv_offload=int(not load.offload_kqv),
        load_mode=load.reading,
        **{bench: getattr(load, name) for bench, name in _SAME.items()},
    )


def _listed(text: str, separator: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(separator)))
