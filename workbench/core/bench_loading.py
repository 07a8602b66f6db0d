"""The settings of a benchmark as load settings, and back."""

from __future__ import annotations

from workbench.core.bench import BenchSettings, BenchTest
from workbench.core.load_settings import LoadSettings

CELLS = 256
"""llama.cpp rounds the context of each sequence up to a multiple of this."""


def as_load_settings(settings: BenchSettings, test: BenchTest) -> LoadSettings:
    """The equivalent load settings, to ask what fits in memory."""
    own = -(-(test.context // test.sequences) // CELLS) * CELLS
    return LoadSettings(
        num_ctx=test.sequences * own,
        num_batch=settings.n_batch,
        num_ubatch=settings.n_ubatch,
        num_gpu=0 if settings.devices == "none" else settings.n_gpu_layers,
        num_cpu_moe=settings.n_cpu_moe,
        override_tensor=_listed(settings.tensor_buft_overrides, ";"),
        split_mode=settings.split_mode,
        tensor_split=_listed(settings.tensor_split, "/"),
        main_gpu=settings.main_gpu,
        devices=() if settings.devices in ("auto", "none") else _listed(settings.devices, "/"),
        offload_kqv=not settings.no_kv_offload,
        load_mode=settings.load_mode,
        num_thread=settings.n_threads,
        num_thread_batch=settings.n_threads_batch,
        type_k=settings.type_k,
        type_v=settings.type_v,
        flash_attn=settings.flash_attn,
        engine_host=settings.engine_host,
    )


def as_bench_settings(load: LoadSettings) -> BenchSettings:
    """The equivalent settings of a benchmark."""
    return BenchSettings(
        n_threads=load.num_thread,
        n_threads_batch=load.num_thread_batch,
        n_batch=load.num_batch,
        n_ubatch=load.num_ubatch,
        n_gpu_layers=load.num_gpu,
        n_cpu_moe=load.num_cpu_moe,
        tensor_buft_overrides=";".join(load.override_tensor),
        split_mode=load.split_mode,
        tensor_split="/".join(load.tensor_split),
        main_gpu=load.main_gpu,
        devices="/".join(load.devices) or "auto",
        no_kv_offload=int(not load.offload_kqv),
        load_mode=load.reading,
        type_k=load.type_k,
        type_v=load.type_v,
        flash_attn=load.flash_attn,
        engine_host=load.engine_host,
    )


def _listed(text: str, separator: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(separator)))
