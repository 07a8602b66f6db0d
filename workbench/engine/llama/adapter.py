"""Putting a LoRA adapter onto a model. Runs in the runtime's thread."""

from __future__ import annotations

import ctypes
import os

from workbench.core.errors import ModelLoadError
from workbench.engine.llama import native
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.weights import reason

SCALE = 1.0
"""How much of an adapter is put on; Ollama has no word for another amount."""


def load_adapter(model: Pointer, path: str) -> Pointer:
    """The native adapter of a GGUF file that was found to fit the model.

    llama.cpp wants it loaded before a context is made, and frees it together with the model.

    Raises:
        ModelLoadError: llama.cpp refuses it.
    """
    with native.log.collect() as lines:
        adapter = api.llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        raise ModelLoadError(
            f"llama.cpp cannot put the adapter {path} onto the model: {reason(lines)}.",
            "The log (F12) has llama.cpp's own words.",
        )
    return adapter


def put_on(ctx: Pointer, adapter: Pointer) -> None:
    """Let a context compute with an adapter.

    Raises:
        ModelLoadError: llama.cpp refuses it.
    """
    adapters = (api.llama_adapter_lora_p_ctypes * 1)(adapter)
    if api.llama_set_adapters_lora(ctx, adapters, 1, (ctypes.c_float * 1)(SCALE)) != 0:
        raise ModelLoadError("llama.cpp does not put the adapter onto the context.", "Open the model without it.")
