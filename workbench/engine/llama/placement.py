"""Devices, shares and overrides of tensors as llama.cpp takes them. Runs in the runtime's thread."""

from __future__ import annotations

import ctypes
from typing import Any

from workbench.core.errors import ModelLoadError
from workbench.core.load_settings import LoadSettings
from workbench.engine.llama.bindings import libggml
from workbench.engine.llama.native import api
from workbench.gguf.placement import HOST, override_rules

for _name, _argument in (("dev_by_name", ctypes.c_char_p), ("dev_buffer_type", ctypes.c_void_p)):
    _function = getattr(libggml, f"ggml_backend_{_name}")
    _function.restype, _function.argtypes = ctypes.c_void_p, [_argument]
libggml.ggml_backend_cpu_buffer_type.restype = ctypes.c_void_p


class _Override(ctypes.Structure):
    """`llama_model_tensor_buft_override`."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


class Placement:
    """Where the weights go by some load settings. Raises ModelLoadError: there is no such device.

    llama.cpp reads its arrays while it loads: keep it until then.
    """

    def __init__(self, load: LoadSettings) -> None:
        self._on_gpus = load.num_gpu != 0
        handles = [_device(name) for name in load.devices if self._on_gpus]
        # None leaves the choice to llama.cpp, an empty list means none; both end with NULL.
        self._devices = (ctypes.c_void_p * (len(handles) + 1))(*handles) if handles or not self._on_gpus else None
        # There are no more of them than GPUs; without one, any number has no meaning.
        shares = map(float, load.tensor_split if self._on_gpus else ())
        self._shares = (ctypes.c_float * api.llama_max_devices())(*shares)
        rules = override_rules(load) if self._on_gpus else ()
        found = [_Override(pattern.encode(), _buffer_type(device)) for pattern, device in rules]
        self._overrides = (_Override * (len(found) + 1))(*found)

    def apply(self, params: Any) -> None:  # noqa: ANN401
        """Put everything into llama.cpp's parameters of a model."""
        params.tensor_split = self._shares
        params.tensor_buft_overrides = ctypes.cast(self._overrides, ctypes.c_void_p)
        if self._devices is not None:
            params.devices = ctypes.cast(self._devices, ctypes.c_void_p)
        if not self._on_gpus:
            params.split_mode, params.main_gpu = api.LLAMA_SPLIT_MODE_LAYER, 0


def _device(name: str) -> int:
    handle: int | None = libggml.ggml_backend_dev_by_name(name.encode())
    if handle is None:
        # It would end the process.
        raise ModelLoadError(f"This build of llama.cpp has no device {name!r}.", "`workbench doctor` lists them.")
    return handle


def _buffer_type(device: str) -> int:
    kind: int = (
        libggml.ggml_backend_cpu_buffer_type()
        if device == HOST
        else libggml.ggml_backend_dev_buffer_type(_device(device))
    )
    return kind
