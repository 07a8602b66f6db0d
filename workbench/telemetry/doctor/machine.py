"""Description of the machine: operating system, processor, container, environment variables."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from workbench.telemetry.host import colon_pairs, is_wsl

FEATURES = (
    *("sse4_2", "avx", "f16c", "fma", "bmi2", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vbmi", "avx512_vnni"),
    *("avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
"""The CPU features that llama.cpp has code for, by Linux's names."""

_CONTAINER_FILES = (".dockerenv", "run/.containerenv")

PREFIXES = (
    *("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "GPU_", "ZES_", "ONEAPI_", "SYCL_", "VK_", "GGML_", "LLAMA_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "OLLAMA_", "HF_", "HUGGINGFACE_", "LMSTUDIO_", "LM_", "VLLM_"),
    *("WORKBENCH_",),
)
NAMES = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_PRELOAD"}
)
HIDDEN = "(set, not shown)"
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|API_?KEY|(^|_)KEY(_|$)|COOKIE", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"\b(hf_|sk-|ghp_|gho_|github_pat_|nvapi-|xox[abp]-|AKIA)[A-Za-z0-9_-]{8,}|\bBearer\s", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """A machine."""

    system: str
    release: str
    architecture: str
    processor: str | None
    features: tuple[str, ...] | None
    """Those of `FEATURES` that it has; None where the system does not report them."""
    cores: int | None
    """Physical ones."""
    logical_cores: int | None
    allowed_cores: int | None
    """Cores that this process may run on."""
    wsl: bool
    container: bool


def machine_info(root: Path = Path("/")) -> MachineInfo:
    """Describe the machine whose file system is at `root`."""
    import psutil

    cpuinfo = _read(root / "proc/cpuinfo")
    return MachineInfo(
        system=platform.system(),
        release=platform.release(),
        architecture=platform.machine(),
        processor=processor_name(cpuinfo) or platform.processor() or None,
        features=processor_features(cpuinfo),
        cores=psutil.cpu_count(logical=False),
        logical_cores=psutil.cpu_count(),
        allowed_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        wsl=is_wsl(root / "proc/version"),
        container=any((root / name).exists() for name in _CONTAINER_FILES) or "KUBERNETES_SERVICE_HOST" in os.environ,
    )


def processor_name(cpuinfo: str) -> str | None:
    """The name of the processor in Linux's `/proc/cpuinfo`; None where there is none."""
    return next((value for key, value in colon_pairs(cpuinfo) if key in {"model name", "Model"} and value), None)


def processor_features(cpuinfo: str) -> tuple[str, ...] | None:
    """The members of `FEATURES` in Linux's `/proc/cpuinfo`; None where it lists no features."""
    words = next((value for key, value in colon_pairs(cpuinfo) if key in {"flags", "Features"}), None)
    if words is None:
        return None
    have = set(words.split())
    return tuple(name for name in FEATURES if name in have)


def variables_that_matter(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that affect how models run, sorted by name, with values that may be secret masked."""
    chosen = {
        name: value for name, value in environment.items() if name.upper() in NAMES or name.upper().startswith(PREFIXES)
    }
    return {name: masked(name, chosen[name]) for name in sorted(chosen)}


def masked(name: str, value: str) -> str:
    """`value` without access tokens, and without passwords in addresses."""
    if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
        return HIDDEN if value else ""
    if "@" not in value:
        return value
    if "://" not in value:
        # A proxy address may lack its scheme.
        return HIDDEN if ":" in value.rpartition("@")[0] else value
    try:
        parts = urlsplit(value)
        if parts.username is None and parts.password is None and not parts.netloc.count("@"):
            return value
        return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
    except ValueError:
        return HIDDEN


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
