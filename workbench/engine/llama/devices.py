"""The devices that this build of llama.cpp computes on. Asked only in the process that hosts the engine."""

from __future__ import annotations

import ctypes
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import psutil

from workbench.core.telemetry import ComputeDevice, normal_pci_id
from workbench.engine.llama.bindings import libggml
from workbench.engine.llama.native import api
from workbench.engine.llama.plan import Gpu, Machine
from workbench.engine.llama.probe import build_features

_Kind = Literal["cpu", "gpu", "integrated", "accelerator", "other"]
_KINDS: tuple[_Kind, ...] = ("cpu", "gpu", "integrated", "accelerator")
"""In the order of ggml's numbers."""


class _Props(ctypes.Structure):
    """`ggml_backend_dev_props`. Its last field, the capabilities, grows with ggml: spare bytes are reserved for it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("capabilities", ctypes.c_bool * 128),
    )


for _name, _result, _arguments in (
    ("dev_count", ctypes.c_size_t, []),
    ("dev_get", ctypes.c_void_p, [ctypes.c_size_t]),
    ("dev_get_props", None, [ctypes.c_void_p, ctypes.POINTER(_Props)]),
    ("dev_backend_reg", ctypes.c_void_p, [ctypes.c_void_p]),
    ("reg_count", ctypes.c_size_t, []),
    ("reg_get", ctypes.c_void_p, [ctypes.c_size_t]),
    ("reg_name", ctypes.c_char_p, [ctypes.c_void_p]),
):
    _function = getattr(libggml, f"ggml_backend_{_name}")
    _function.restype, _function.argtypes = _result, _arguments


held: Final = Counter[str]()
"""The bytes of the open models by the name of the device; changed in the runtime's thread."""


def list_devices() -> Iterator[ComputeDevice]:
    """Every device, in ggml's order.

    On CUDA this initialises the driver in this process; on SYCL it may abort it (ggml asserts that the query works).
    """
    for index in range(libggml.ggml_backend_dev_count()):
        device = libggml.ggml_backend_dev_get(index)
        props = _Props()
        libggml.ggml_backend_dev_get_props(device, ctypes.byref(props))
        kind: _Kind = _KINDS[props.type] if 0 <= props.type < len(_KINDS) else "other"
        has_memory = kind in {"gpu", "integrated"}
        yield ComputeDevice(
            name=_words(props.name),
            kind=kind,
            description=_words(props.description),
            backend=_words(libggml.ggml_backend_reg_name(libggml.ggml_backend_dev_backend_reg(device))),
            pci_id=normal_pci_id(_words(props.device_id)),
            # For a processor, and a driver that reports no free memory, ggml gives the total.
            free_bytes=props.memory_free if has_memory and props.memory_free < props.memory_total else None,
            total_bytes=props.memory_total or None,
            held_bytes=held[_words(props.name)],
        )


def offload_devices(devices: Iterable[ComputeDevice]) -> list[ComputeDevice]:
    """Those that llama.cpp offloads to by itself: each GPU once, and integrated ones only where there is no other."""
    found: dict[str, ComputeDevice] = {}
    for device in devices:
        if device.is_gpu:
            found.setdefault(device.pci_id or device.name, device)
    return [device for device in found.values() if device.kind == "gpu"] or list(found.values())


def backend_names() -> list[str]:
    """The backends that are in this build of llama.cpp, such as `CPU` and `CUDA`."""
    count = libggml.ggml_backend_reg_count()
    return [_words(libggml.ggml_backend_reg_name(libggml.ggml_backend_reg_get(index))) for index in range(count)]


def library_version() -> tuple[str | None, str | None]:
    """The version and the commit of ggml; None where this build does not report them."""

    def ask(name: str) -> str | None:
        function = getattr(libggml, name, None)
        if function is None:
            return None
        function.restype = ctypes.c_char_p
        return _words(function()) or None

    return ask("ggml_version"), ask("ggml_commit")


def _words(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "replace")


def physical_cores() -> int:
    """Physical cores that this process may run on; at least 1."""
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))


_REPACKED = (
    (("AVX2",), ("Q4_0", "Q4_K", "IQ4_NL", "MXFP4")),
    (("AVX512",), ("Q2_K",)),
    (("NEON", "MATMUL_INT8"), ("Q1_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0")),
    (("NEON", "DOTPROD"), ("Q1_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4")),
)
"""The tensor types that llama.cpp repacks on a processor with these features."""


def repacked_types(system_info: str) -> frozenset[str]:
    """The tensor types that llama.cpp repacks on this machine."""
    on = {name for name, used in build_features(system_info).items() if used}
    if "REPACK" not in on:
        return frozenset()
    return frozenset(kind for needed, kinds in _REPACKED if on.issuperset(needed) for kind in kinds)


def look_at_machine() -> Machine:
    """The hardware, with its free memory."""
    memory = psutil.virtual_memory()
    gpus = tuple(
        Gpu(device.name, device.usable_bytes, device.is_software) for device in offload_devices(list_devices())
    )
    info = api.llama_print_system_info().decode("utf-8", "replace")
    return Machine(physical_cores(), memory.total, memory.available, gpus, repacked_types(info))
