"""Loading the weights of a model, and saying why they cannot be loaded. Runs in the runtime's thread."""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Sequence

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import CancelledError, MemoryShortError, ModelLoadError
from workbench.engine.llama import native
from workbench.engine.llama.native import Pointer, api

_PROGRESS_INTERVAL_S = 0.03


def reason(lines: Sequence[native.LogEntry]) -> str:
    """The first error of a failed load, without the names of llama.cpp's functions before it."""
    errors = [text for level, text in lines if level >= logging.ERROR]
    if not errors:
        return "llama.cpp gave no reason"
    text = errors[0].rpartition("error loading model: ")[2] if "error loading model: " in errors[0] else errors[0]
    return text.split(": ", 1)[1] if text.startswith("llama_") and ": " in text else text


def load_weights(
    path: str,
    *,
    gpu_layers: int,
    split_mode: str = "layer",
    main_gpu: int = 0,
    use_mmap: bool = True,
    on_progress: ProgressCallback,
    cancel: CancelToken,
) -> Pointer:
    """The native model of a GGUF file whose header has been found sound.

    Raises:
        CancelledError: The load was cancelled.
        ModelLoadError: llama.cpp refuses the model.
    """
    params = api.llama_model_default_params()
    params.n_gpu_layers = gpu_layers
    params.split_mode = getattr(api, f"LLAMA_SPLIT_MODE_{split_mode.upper()}")
    params.main_gpu = main_gpu
    params.load_mode = api.LLAMA_LOAD_MODE_MMAP if use_mmap else api.LLAMA_LOAD_MODE_NONE
    told_at = 0.0

    def tell(fraction: float, _: object) -> bool:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= _PROGRESS_INTERVAL_S or fraction >= 1.0:
            told_at = now
            on_progress(fraction)
        return not cancel.is_set

    callback = api.llama_progress_callback(tell)
    params.progress_callback = callback
    with native.log.collect() as lines:
        model = api.llama_model_load_from_file(os.fsencode(path), params)
    if cancel.is_set:
        if model:
            api.llama_model_free(model)
        raise CancelledError("Loading was stopped.")
    if not model:
        raise ModelLoadError(
            f"llama.cpp cannot load {path}: {reason(lines)}.", "The log (F12) has llama.cpp's own words."
        )
    if not api.llama_model_has_decoder(model):
        api.llama_model_free(model)
        raise ModelLoadError(f"{path} cannot write text: it is an encoder.", "Choose a generative model.")
    return model


def no_context(tokens: int, lines: Sequence[native.LogEntry]) -> MemoryShortError | ModelLoadError:
    """The error of a context that llama.cpp does not make."""
    message = f"There is no context of {tokens} tokens to be had: {reason(lines)}."
    if any(level >= logging.ERROR and "alloc" in text for level, text in lines):
        return MemoryShortError(message, "A shorter context (num_ctx) or smaller K and V types need less.")
    return ModelLoadError(message, "Default values for type_k, type_v and flash_attn may help.")


def describe_weights(model: Pointer) -> str:
    """What llama.cpp calls a model, such as `llama 8B Q4_K - Medium`."""
    buffer = ctypes.create_string_buffer(256)
    api.llama_model_desc(model, buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")
