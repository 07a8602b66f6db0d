"""Loading the weights of a model and its LoRA adapter, with the reasons of failures. Runs in the runtime's thread."""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Sequence

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import CancelledError, MemoryShortError, ModelLoadError
from workbench.core.parameters import LoadSettings
from workbench.engine.llama import native
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.placement import Placement

_PROGRESS_INTERVAL_S = 0.03

ADAPTER_SCALE = 1.0
"""How strongly an adapter is applied; Ollama's Modelfiles cannot say otherwise."""


def reason(lines: Sequence[native.LogEntry]) -> str:
    """The first error of a failed load, without the names of llama.cpp's functions before it."""
    errors = [text for level, text in lines if level >= logging.ERROR]
    if not errors:
        return "llama.cpp gave no reason"
    text = errors[0].rpartition("error loading model: ")[2] if "error loading model: " in errors[0] else errors[0]
    return text.split(": ", 1)[1] if text.startswith("llama_") and ": " in text else text


def is_short(lines: Sequence[native.LogEntry]) -> bool:
    """Whether memory could not be allocated."""
    return any(level >= logging.ERROR and "alloc" in text for level, text in lines)


def load_weights(
    path: str,
    load: LoadSettings,
    on_progress: ProgressCallback,
    cancel: CancelToken,
) -> Pointer:
    """Load the native model of a GGUF file whose header was found valid, with settings that were found possible.

    Raises:
        CancelledError: The load was cancelled.
        MemoryShortError: There is no room for it.
        ModelLoadError: llama.cpp refuses the model.
    """
    params = api.llama_model_default_params()
    params.n_gpu_layers = load.num_gpu
    params.split_mode = getattr(api, f"LLAMA_SPLIT_MODE_{load.split_mode.upper()}")
    params.main_gpu = load.main_gpu
    params.load_mode = native.LOAD_MODE_IDS[load.reading]
    placement = Placement(load)
    placement.apply(params)
    reported_at = 0.0

    def report(fraction: float, _: object) -> bool:
        nonlocal reported_at
        now = time.monotonic()
        if now - reported_at >= _PROGRESS_INTERVAL_S or fraction >= 1.0:
            reported_at = now
            on_progress(fraction)
        return not cancel.is_set

    callback = api.llama_progress_callback(report)
    params.progress_callback = callback
    with native.log.collect() as lines:
        model = api.llama_model_load_from_file(os.fsencode(path), params)
    if cancel.is_set:
        if model:
            api.llama_model_free(model)
        raise CancelledError("Loading was stopped.")
    if not model:
        message = f"llama.cpp cannot load {path}: {reason(lines)}."
        if is_short(lines):
            fewer = "Fewer layers on the GPU (num_gpu)" if load.num_gpu else "A smaller quantization"
            raise MemoryShortError(message, f"{fewer} needs less memory there.")
        if load.split_mode == "row":
            raise ModelLoadError(message, "Not every device and model can be split by rows: set split_mode to layer.")
        raise ModelLoadError(message, "The log (F12) has llama.cpp's own words.")
    if not api.llama_model_has_decoder(model):
        api.llama_model_free(model)
        raise ModelLoadError(f"{path} cannot generate text: it is an encoder.", "Choose a generative model.")
    return model


def load_adapter(model: Pointer, path: str) -> Pointer:
    """Load the adapter in a GGUF file that was found to fit the model.

    llama.cpp requires it to be loaded before a context is made, and frees it together with the model.

    Raises:
        ModelLoadError: llama.cpp refuses it.
    """
    with native.log.collect() as lines:
        adapter = api.llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        raise ModelLoadError(
            f"llama.cpp cannot apply the adapter {path} to the model: {reason(lines)}.",
            "The log (F12) has llama.cpp's own words.",
        )
    return adapter


def apply_adapter(ctx: Pointer, adapter: Pointer) -> None:
    """Apply an adapter to a context."""
    adapters = (api.llama_adapter_lora_p_ctypes * 1)(adapter)
    if api.llama_set_adapters_lora(ctx, adapters, 1, (ctypes.c_float * 1)(ADAPTER_SCALE)) != 0:
        raise ModelLoadError("llama.cpp does not apply the adapter to the context.", "Open the model without it.")


def make_context(model: Pointer, settings: LoadSettings, **values: object) -> Pointer:
    """Make a context with these settings, and other values of its native parameters.

    Raises:
        MemoryShortError: There is no room for it.
        ModelLoadError: llama.cpp refuses it.
    """
    params = api.llama_context_default_params()
    params.n_ctx = settings.num_ctx
    params.n_batch, params.n_ubatch = settings.num_batch, settings.ubatch
    params.n_threads = settings.num_thread
    params.n_threads_batch = settings.num_thread_batch or settings.num_thread
    params.offload_kqv = settings.offload_kqv
    # Without layers on a GPU, a build with a GPU would still copy weights there for each prompt.
    params.op_offload = settings.num_gpu != 0
    params.type_k = native.KV_TYPE_IDS[settings.type_k]
    params.type_v = native.KV_TYPE_IDS[settings.type_v]
    params.flash_attn_type = native.FLASH_ATTN_IDS[settings.flash_attn]
    for name, value in values.items():
        setattr(params, name, value)
    with native.log.collect() as lines:
        ctx = api.llama_init_from_model(model, params)
    if ctx:
        return ctx
    message = f"llama.cpp cannot make a context of length {params.n_ctx}: {reason(lines)}."
    if is_short(lines):
        fewer = "Fewer layers on the GPU (num_gpu), a" if settings.num_gpu else "A"
        raise MemoryShortError(message, f"{fewer} shorter context (num_ctx) or smaller K and V types need less.")
    raise ModelLoadError(message, "Default values for type_k, type_v and flash_attn may help.")


def describe_weights(model: Pointer) -> str:
    """llama.cpp's description of a model, such as `llama 8B Q4_K - Medium`."""
    buffer = ctypes.create_string_buffer(256)
    api.llama_model_desc(model, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")
